// A store of volumes' files for tests, and trees in it as plain maps.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "control/volume_layer.h"
#include "control/volume_merge.h"

namespace ember {

class VolumeTest : public testing::Test {
 protected:
  // A file's text, "<dir>", or "-> target".
  using Tree = std::map<std::string, std::string>;

  VolumeTest() {
    std::string pattern = testing::TempDir() + "ember-volume-XXXXXX";
    path = ::mkdtemp(pattern.data());
    reopen();
  }
  ~VolumeTest() override { std::filesystem::remove_all(path); }

  void reopen() {
    blobs = std::make_unique<VolumeBlobs>(path + "/volumes");
    EXPECT_TRUE(blobs->prepare().ok());
    EXPECT_TRUE(make_directories(blobs->root(), "layers", "layers").ok());
  }

  StoredFile store(const std::string& text, FileKind kind = FileKind::plain) {
    std::string batch(sizeof(std::uint32_t), '\0');
    const auto length = static_cast<std::uint32_t>(text.size());
    std::memcpy(batch.data(), &length, sizeof length);
    EXPECT_TRUE(blobs->put_whole(batch + text).ok());
    auto file = blobs->find(id_of(text), kind);
    EXPECT_TRUE(file.ok());
    return *file;
  }

  static std::string id_of(std::string_view text) {
    std::vector<Sha256> chunks;
    for (; !text.empty(); text.remove_prefix(std::min<std::size_t>(text.size(), kChunkBytes))) {
      chunks.push_back(sha256(text.substr(0, kChunkBytes)));
    }
    return file_id(chunks);
  }

  VolumeTree tree(const LayerNames& layers) {
    auto opened = VolumeTree::open(blobs->root(), layers);
    EXPECT_TRUE(opened.ok());
    return std::move(opened).value();
  }

  Tree seen(const LayerNames& layers) {
    Tree all;
    const VolumeTree opened = tree(layers);
    const auto walked = opened.walk(
        "", [&](const std::string& at, const TreeNode& node) -> Result<VolumeTree::Next> {
          all[at] = node.kind == NodeKind::directory ? "<dir>" : "-> " + node.target;
          if (node.kind == NodeKind::file) {
            auto file = opened.open_file(at);
            EXPECT_TRUE(file.ok()) << at;
            if (file) all[at] = *read_range(file->get(), 0, 1 << 16, at);
          }
          return VolumeTree::Next::go_on;
        });
    EXPECT_TRUE(walked.ok());
    return all;
  }

  // A layer with the change on top of the others; none where it changes nothing.
  template <class Change>
  LayerNames with(LayerNames layers, Change change) {
    const VolumeTree below = tree(layers);
    LayerBuilder builder(*blobs, below);
    Result<> done = change(builder);
    EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.error().message);
    const auto measured = builder.measure();
    EXPECT_TRUE(measured.ok());
    totals.files += measured->totals.files;
    totals.bytes += measured->totals.bytes;
    if (measured->entries == 0) return layers;
    layers.push_back("ly-" + std::to_string(++made));
    EXPECT_TRUE(builder.publish(layers.back()).ok());
    return layers;
  }

  std::string path;
  std::unique_ptr<VolumeBlobs> blobs;
  TreeTotals totals;  // as the layers made with with() say
  int made = 0;
};

}  // namespace ember
