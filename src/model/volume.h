// Volumes: named, versioned file trees, and where a function's containers see them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/ids.h"

namespace ember {

struct VolumeIdTag {
  static constexpr std::string_view kPrefix = "vo";
};
using VolumeId = Id<VolumeIdTag>;

enum class VolumeAccess : std::uint8_t { read_write, read_only };

struct VolumeMount {
  std::string path;           // in the container: absolute and normal
  std::string volume;         // its name
  std::uint32_t version = 0;  // 0: the newest when the container starts
  VolumeAccess access = VolumeAccess::read_write;
  std::string sub_path;  // the directory of the volume that is seen; empty: all of it

  friend bool operator==(const VolumeMount&, const VolumeMount&) = default;
};

// A path within a volume: relative, with '/', of at most 1024 bytes, no part of it empty, "." or
// "..", or over 255 bytes, and without zero bytes.
Result<> check_volume_path(std::string_view path);

// Messages begin with `where`. No two mounts of one volume, none within another, none where the
// container keeps what is its own.
Result<> check_volume_mounts(const std::vector<VolumeMount>& mounts, std::string_view where);

}  // namespace ember
