#include "model/node.h"

namespace ember {
namespace {

constexpr DeviceState kStates[] = {DeviceState::available, DeviceState::in_use, DeviceState::mig,
                                   DeviceState::unreachable, DeviceState::cordoned};

}  // namespace

std::string_view device_state_name(DeviceState state) {
  switch (state) {
    case DeviceState::available:
      return "available";
    case DeviceState::in_use:
      return "in_use";
    case DeviceState::mig:
      return "mig";
    case DeviceState::unreachable:
      return "unreachable";
    case DeviceState::cordoned:
      return "cordoned";
  }
  return "available";
}

std::optional<DeviceState> device_state_named(std::string_view name) {
  for (const DeviceState state : kStates) {
    if (device_state_name(state) == name) return state;
  }
  return std::nullopt;
}

}  // namespace ember
