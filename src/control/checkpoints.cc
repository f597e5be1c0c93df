#include "control/checkpoints.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "control/json.h"

namespace ember {
namespace {

constexpr Duration kLookEvery = Duration::seconds(600);

std::string directory_of(const Function& function) {
  return function.app_name + "/" + function.spec.name;
}

bool is_done_with(std::string_view state) {
  return state == call_state_name(CallState::succeeded) ||
         state == call_state_name(CallState::cancelled);
}

// The directories of calls in a listing: APP/FUNCTION/CALL, and what is in them.
std::set<std::string> directories_in(std::string_view listing) {
  std::set<std::string> directories;
  const JsonValue document = JsonValue::parse(listing, nullptr, false);
  for (const JsonValue& entry : document.value("entries", JsonValue::array())) {
    const std::string path = entry.value("path", std::string());
    const auto app = path.find('/');
    const auto function = app == path.npos ? app : path.find('/', app + 1);
    if (function != path.npos) directories.insert(path.substr(0, path.find('/', function + 1)));
  }
  return directories;
}

}  // namespace

VolumeMount checkpoint_mount(const Function& function) {
  return {std::string(kCheckpointsPath), std::string(kCheckpointsVolume), 0,
          VolumeAccess::read_write, directory_of(function)};
}

void Checkpoints::begin() {
  look();
  driver_.after(kLookEvery, [this] { begin(); });
}

void Checkpoints::call_ended(const FinishedCall& call, Bond bond) {
  const bool may_go_on = bond == Bond::spawned && !is_done_with(call_state_name(call.state));
  if (!may_go_on) remove(directory_of(*call.function) + "/" + call.id.text());
}

void Checkpoints::remove(const std::string& directory) {
  const Volume* volume = volumes_.catalog().find(kCheckpointsVolume);
  if (!volume) return;
  volumes_.publish(
      volume->record.id, "remove " + directory, {},
      [directory](LayerBuilder& builder) -> Result<> {
        auto node = builder.below().find(directory);
        if (!node) return std::move(node).error();
        return *node ? builder.remove(directory) : Result<>(Ok{});
      },
      [directory](const Result<Volumes::Published>& removed) {
        if (removed) return;
        spdlog::warn("the checkpoints {} are not removed yet: {}", directory,
                     removed.error().message);
      });
}

void Checkpoints::hand_on(const Function& function, CallId from, CallId to,
                          std::function<void()> then) {
  const Volume* volume = volumes_.catalog().find(kCheckpointsVolume);
  if (!volume || !function.spec.checkpoints) return then();
  const std::string source = directory_of(function) + "/" + from.text();
  const std::string target = directory_of(function) + "/" + to.text();
  volumes_.publish(
      volume->record.id, to.text() + " goes on with those of " + from.text(), {},
      [source, target](LayerBuilder& builder) -> Result<> {
        auto node = builder.below().find(source);
        if (!node) return std::move(node).error();
        return *node ? builder.copy(source, target) : Result<>(Ok{});
      },
      [target, then = std::move(then)](const Result<Volumes::Published>& copied) {
        if (!copied) spdlog::warn("no checkpoints for {}: {}", target, copied.error().message);
        then();
      });
}

void Checkpoints::look() {
  const Volume* volume = volumes_.catalog().find(kCheckpointsVolume);
  if (!volume || volume->versions.empty()) return;
  VolumeListing all{.volume = std::string(kCheckpointsVolume),
                    .path = {},
                    .version = 0,
                    .recursive = true,
                    .after = {},
                    .limit = kMaxVolumeEntries};
  volumes_.tree(std::move(all), [this](const Result<std::string>& listing) {
    if (!listing) return;
    for (const std::string& directory : directories_in(*listing)) {
      const auto call = CallId::parse(directory.substr(directory.rfind('/') + 1));
      if (call && !calls_.find(*call)) look_at(directory, *call);
    }
  });
}

void Checkpoints::look_at(const std::string& directory, CallId call) {
  auto found = [this, directory, call](const Result<StoredCall>& stored) {
    const bool forgotten = !stored && stored.error().code == ErrorCode::not_found;
    const bool over = stored && stored->end && is_done_with(stored->end->state);
    if ((forgotten || over) && !calls_.find(call)) remove(directory);
  };
  store_.query_call(call, background_.to_loop(std::move(found)));
}

}  // namespace ember
