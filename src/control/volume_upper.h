// What a container has written to a volume that it mounts: the upper directory of its overlay, and
// which of that is in the volume's versions already. Used off the loop, by one thread at a time.
//
//   uppers/<container>/<n>/mount.json   what is mounted
//   uppers/<container>/<n>/files/       what the container has written, as an overlay keeps it
//   uppers/<container>/<n>/work/        the overlay's own
//   uppers/<container>/<n>/taken        what is in a version already: for the next life of serve
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control/volume_layer.h"

namespace ember {

// Who may write to it meanwhile, and what becomes of a file that is being written.
enum class UpperLook {
  now_and_then,  // left for the next look
  asked_for,     // read again, a few times
  at_the_end,    // nobody writes any more: files may be linked rather than copied
};

class VolumeUpper {
 public:
  // `path` is beneath the store's root. `base` is what the container sees below, as layers of the
  // volume; `sub_path` the directory of them that it sees.
  VolumeUpper(VolumeBlobs& blobs, std::string path, LayerNames base, std::string sub_path);

  // Finds what has changed since the last settle(), and takes the files into the store. True if
  // there is something.
  Result<bool> look(UpperLook how);
  // Makes what look() found on top of the newest version.
  Result<> apply(LayerBuilder& builder) const;
  // That is in a version now.
  void settle();

 private:
  enum class Kind : std::uint8_t { file, link, directory, deleted };
  struct Entry {
    Kind kind = Kind::file;
    std::int64_t size = 0, modified_ns = 0, changed_ns = 0;
    std::uint64_t inode = 0;
    std::string target;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  struct Change {
    std::string path;
    Entry entry;
    StoredFile file;
  };
  enum class Below { shows, is_hidden };

  Result<> read_taken();
  Result<> walk(const std::string& path, Below below);
  Result<> note_entry(int directory, const std::string& path, const std::string& name, Below below);
  Result<> note_file(int directory, const std::string& path, const std::string& name,
                     const struct stat& status);
  Result<> hide_rest(const std::string& path, const std::vector<DirectoryEntry>& entries);
  void note_deleted();
  bool is_known(const std::string& path, const Entry& entry);
  Result<> remove(LayerBuilder& builder, const std::string& path) const;
  Result<bool> remove_known(LayerBuilder& builder, const std::string& path,
                            std::vector<std::string>& gone) const;
  std::string in_volume(const std::string& path) const;

  VolumeBlobs& blobs_;
  const std::string path_;
  const LayerNames base_layers_;
  const std::string sub_path_;
  std::optional<VolumeTree> base_;
  UniqueFd files_;
  UpperLook how_ = UpperLook::asked_for;
  bool has_read_ = false;
  std::map<std::string, Entry> taken_;  // what versions have of it, by path
  std::set<std::string> seen_;          // paths that are there, in this look
  std::vector<Change> changes_;
};

}  // namespace ember
