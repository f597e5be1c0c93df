// A disk of a container's own, to write to: a file of the node's with a file system in it. All its
// bytes are taken when it is made, so that no container meets a disk that others have filled. It
// has no name, and no mount but the container's: whatever ends that, the kernel takes it away.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "node/process_table.h"
#include "node/unique_fd.h"

namespace ember {

// Makes one in the directory. Calls back once, from the loop or at once.
void make_ephemeral_disk(ProcessTable& processes, const std::string& directory, std::int64_t bytes,
                         std::function<void(Result<UniqueFd>)> done);

// Its mount, attached nowhere yet, with its owners shifted as the user namespace maps them and with
// the directories of an overlay's upper in it (stage.h). Between fork and exec too; root only.
Result<UniqueFd> mount_ephemeral_disk(int disk, int user_namespace);

// What this machine lacks for them, one line; empty: nothing.
std::string lacks_for_ephemeral_disks();

}  // namespace ember
