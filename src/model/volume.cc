#include "model/volume.h"

#include <algorithm>
#include <array>

#include "model/function.h"

namespace ember {
namespace {

constexpr std::size_t kMaxPath = 1024;
constexpr std::size_t kMaxPart = 255;
constexpr std::size_t kMaxMounts = 16;
constexpr std::size_t kShownPath = 80;
// Nothing may be mounted at one of these, or within one.
constexpr std::array<std::string_view, 12> kTaken{"/proc",   "/sys", "/dev",   "/ember",
                                                  "/source", "/usr", "/etc",   "/bin",
                                                  "/sbin",   "/lib", "/lib64", "/run"};
// Nor at one of these.
constexpr std::array<std::string_view, 3> kKept{"/", "/root", "/tmp"};

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

bool is_safe_part(std::string_view part) {
  return !part.empty() && part.size() <= kMaxPart && part != "." && part != "..";
}

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPath || path.find('\0') != path.npos) return false;
  while (true) {
    const auto slash = path.find('/');
    if (!is_safe_part(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool is_within(std::string_view path, std::string_view directory) {
  return path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

Result<> check_place(std::string_view path, const std::string& where) {
  const auto names_control = [](unsigned char c) { return c < 0x20 || c == 0x7f || c == ':'; };
  if (!path.starts_with('/') || path == "/" || !is_safe_path(path.substr(1)) ||
      std::ranges::any_of(path, names_control)) {
    return invalid(where + " must be an absolute path such as /data, without '.', '..' and ':'");
  }
  const auto holds = [&](std::string_view taken) { return is_within(path, taken); };
  if (std::ranges::any_of(kTaken, holds) || std::ranges::count(kKept, path) > 0) {
    return invalid(where + ": " + std::string(path.substr(0, kShownPath)) +
                   " is the container's own; mount the volume at /data, for example");
  }
  return Ok{};
}

}  // namespace

Result<> check_volume_path(std::string_view path) {
  if (is_safe_path(path)) return Ok{};
  return invalid("\"" + std::string(path.substr(0, kShownPath)) +
                 "\" is no path within a volume: use a relative one with '/', of at most 1024 "
                 "bytes, each part of at most 255 and none of them '.' or '..'");
}

Result<> check_volume_mounts(const std::vector<VolumeMount>& mounts, std::string_view where) {
  if (mounts.size() > kMaxMounts) return invalid(std::string(where) + " has more than 16 volumes");
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const VolumeMount& mount = mounts[i];
    const std::string here = std::string(where) + "[" + std::to_string(i) + "]";
    if (auto named = check_name("volume", mount.volume); !named) {
      return std::move(named).error().within(here + ".name");
    }
    if (auto placed = check_place(mount.path, here + ".path"); !placed) return placed;
    if (!mount.sub_path.empty()) {
      auto fine = check_volume_path(mount.sub_path);
      if (!fine) return std::move(fine).error().within(here + ".sub_path");
    }
    for (std::size_t other = 0; other < i; ++other) {
      if (mounts[other].volume == mount.volume) {
        return invalid(here + ": the volume " + mount.volume + " is mounted twice; once is enough");
      }
      if (is_within(mount.path, mounts[other].path) || is_within(mounts[other].path, mount.path)) {
        return invalid(here + ": " + mount.path + " and " + mounts[other].path +
                       " lie within each other");
      }
    }
  }
  return Ok{};
}

}  // namespace ember
