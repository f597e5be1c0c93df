// What volumes ask of a file system: opening beneath a directory without following a link,
// copying without a second copy where it can do that, and making what was written durable.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "node/unique_fd.h"

namespace ember {

inline constexpr mode_t kVolumeFileMode = 0644;
inline constexpr mode_t kVolumeProgramMode = 0755;
inline constexpr mode_t kVolumeDirectoryMode = 0755;

// `path` "" is the directory itself. Empty, with errno, where there is none: ELOOP where a link
// stands in the way, ENOTDIR where a file does.
UniqueFd open_beneath(int directory, const std::string& path, int flags, mode_t mode = 0);

// A directory to read, opened anew: what is read of it is not shared with the descriptor given.
UniqueFd open_to_list(int directory, const std::string& path);

struct DirectoryEntry {
  std::string name;
  unsigned char type = 0;  // DT_REG and so on; DT_UNKNOWN where the file system does not tell
};
// All but "." and "..", sorted by name. Takes the descriptor.
Result<std::vector<DirectoryEntry>> entries_of(UniqueFd directory, const std::string& path);

// An overlay's mark of what is deleted.
bool is_whiteout(const struct stat& status);

Result<> write_whole(int file, std::string_view bytes, std::int64_t offset,
                     const std::string& path);
// A file opened twice; `direct`, with O_DIRECT, is negative where there is no such way.
struct FileToWrite {
  int file;
  int direct;
};
// The same for much at once: it goes to the disk now, and pushes nothing of others out of memory.
// What cannot go that way, as the end of a file, is written as everything else.
Result<> write_past_cache(FileToWrite to, std::string_view bytes, std::int64_t offset,
                          const std::string& path);
// Reads at most so many bytes; fewer at the file's end alone.
Result<std::string> read_range(int file, std::int64_t offset, std::size_t at_most,
                               const std::string& path);
// The target of a link; "" where it is none.
std::string read_link(int directory, const std::string& name);

// Whether `to` now shares the blocks of `from`; false where the file system cannot.
bool clone_file(int from, int to);
Result<> copy_file(int from, int to, const std::string& path);

Result<> sync_file(int file, const std::string& path);
// One request to the disk for all that was written before.
Result<> sync_file_system(int directory, const std::string& path);

// Makes it and those above it, beneath the directory.
Result<> make_directories(int directory, const std::string& path, const std::string& shown);
// Removes a tree beneath the directory; nothing where there is none.
void remove_tree(int directory, const std::string& path);

std::string parent_of(const std::string& path);  // "" for one without '/'
std::string join_path(const std::string& directory, const std::string& name);

}  // namespace ember
