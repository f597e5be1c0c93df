// The files of a volume as a document.
#include <algorithm>

#include "control/volumes.h"

namespace ember {
namespace {

JsonValue to_json(const std::string& path, const TreeNode& node) {
  JsonValue entry = {{"path", path}};
  switch (node.kind) {
    case NodeKind::file:
      entry["type"] = "file";
      entry["size_bytes"] = node.size_bytes;
      entry["program"] = node.is_program;
      entry["modified_ms"] = node.modified_s * 1000;
      break;
    case NodeKind::directory:
      entry["type"] = "directory";
      break;
    case NodeKind::link:
      entry["type"] = "link";
      entry["target"] = node.target;
      break;
  }
  return entry;
}

// The order of a walk: by parts, not by bytes, in which '-' would come before '/'.
bool comes_after(std::string_view path, std::string_view other) {
  return std::ranges::lexicographical_compare(
      other, path, {}, [](char c) { return c == '/' ? 0 : 1 + static_cast<unsigned char>(c); },
      [](char c) { return c == '/' ? 0 : 1 + static_cast<unsigned char>(c); });
}

class Page {
 public:
  explicit Page(const VolumeListing& wanted) : wanted_(wanted) {}

  VolumeTree::Next add(const std::string& path, const TreeNode& node) {
    if (!wanted_.after.empty() && !comes_after(path, wanted_.after)) return VolumeTree::Next::go_on;
    if (static_cast<std::int64_t>(entries_.size()) == wanted_.limit) {
      more_ = true;
      return VolumeTree::Next::stop;
    }
    entries_.push_back(to_json(path, node));
    return VolumeTree::Next::go_on;
  }

  std::string document(std::uint32_t version) {
    return dump_json({{"volume", wanted_.volume},
                      {"version", version},
                      {"entries", std::move(entries_)},
                      {"more", more_}});
  }

 private:
  const VolumeListing& wanted_;
  JsonValue entries_ = JsonValue::array();
  bool more_ = false;
};

Result<std::string> page_of(const VolumeTree& tree, const VolumeListing& wanted,
                            std::uint32_t version) {
  Page page(wanted);
  auto node = tree.find(wanted.path);
  if (!node) return std::move(node).error();
  if (*node && (*node)->kind != NodeKind::directory) {
    page.add(wanted.path, **node);
    return page.document(version);
  }
  if (wanted.recursive) {
    auto walked =
        tree.walk(wanted.path,
                  [&](const std::string& path, const TreeNode& inside) -> Result<VolumeTree::Next> {
                    return page.add(path, inside);
                  });
    if (!walked) return std::move(walked).error();
    return page.document(version);
  }
  auto nodes = tree.list(wanted.path);
  if (!nodes) return std::move(nodes).error();
  for (const TreeNode& inside : *nodes) {
    const auto next = page.add(join_path(wanted.path, inside.name), inside);
    if (next == VolumeTree::Next::stop) break;
  }
  return page.document(version);
}

}  // namespace

void Volumes::tree(VolumeListing listing, Done done) {
  auto version = catalog_.version(listing.volume, listing.version);
  if (!version) return done(std::move(version).error());
  if (!listing.path.empty()) {
    if (auto fine = check_volume_path(listing.path); !fine) return done(std::move(fine).error());
  }
  with_tree(
      *version,
      [listing = std::move(listing), number = version->version](const VolumeTree& opened) {
        return page_of(opened, listing, number);
      },
      std::move(done));
}

}  // namespace ember
