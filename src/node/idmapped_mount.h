// Directories seen with their owners shifted: what 0 to 65535 own on disk appears to belong to a
// container's range of users, so that one copy on disk serves every container. Linux 5.12 and
// ext4, xfs, btrfs or tmpfs (5.19 below an overlay; tmpfs 6.3); root only.
#pragma once

#include <compare>
#include <cstdint>
#include <map>

#include "base/result.h"
#include "node/unique_fd.h"

namespace ember {

inline constexpr std::uint32_t kMappedIds = 65'536;

enum class MountAccess { read_only, read_write };

class IdMaps {
 public:
  // The descriptor of a user namespace that maps 0 on to `first_id` on. Made once for each range
  // and kept: borrowed from here.
  Result<int> from(std::uint32_t first_id) { return of({0, first_id, kMappedIds}); }
  // The same of one user alone: what `on_disk` owns appears to be `seen_as`'s.
  Result<int> of_one(std::uint32_t on_disk, std::uint32_t seen_as) {
    return of({on_disk, seen_as, 1});
  }

 private:
  struct Range {
    std::uint32_t on_disk = 0, seen_as = 0, count = 0;
    friend auto operator<=>(const Range&, const Range&) = default;
  };
  Result<int> of(const Range& range);

  std::map<Range, UniqueFd> made_;
};

// Has a mount that is attached nowhere yet show owners as the user namespace maps them, and no
// devices and no set-user-ID.
Result<> shift_owners(int mount, int user_namespace, MountAccess access);

// A mount of the directory that is attached nowhere yet (move_mount): owners as the user namespace
// maps them, no devices, no set-user-ID. The directory must be of this mount namespace.
Result<UniqueFd> idmapped_mount(int directory, int user_namespace, MountAccess access);

}  // namespace ember
