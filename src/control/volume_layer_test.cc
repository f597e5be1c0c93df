// Layers over each other, against a plain map of what a tree should be.
#include "control/volume_layer.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <random>

#include "control/volume_fixture.h"

namespace ember {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class VolumeLayerTest : public VolumeTest {};

TEST_F(VolumeLayerTest, AFileIsThatOfTheTopmostLayerThatHasIt) {
  LayerNames layers = with({}, [&](LayerBuilder& to) {
    EXPECT_TRUE(to.put_file("a", store("old")).ok());
    return to.put_file("d/b", store("kept"));
  });
  layers = with(layers, [&](LayerBuilder& to) { return to.put_file("a", store("new")); });
  EXPECT_THAT(seen(layers), ElementsAre(Pair("a", "new"), Pair("d", "<dir>"), Pair("d/b", "kept")));
  EXPECT_EQ(layers.size(), 2u);
  EXPECT_EQ(totals.files, 2);
  EXPECT_EQ(totals.bytes, 7);
}

TEST_F(VolumeLayerTest, WhatIsSoAlreadyIsNoChange) {
  const auto put = [&](LayerBuilder& to) {
    EXPECT_TRUE(to.put_link("l", "a").ok());
    EXPECT_TRUE(to.put_directory("d").ok());
    EXPECT_TRUE(to.put_file("none", store("")).ok());
    return to.put_file("a", store("text"));
  };
  const LayerNames layers = with({}, put);
  EXPECT_EQ(with(layers, put), layers);
  EXPECT_EQ(with(layers, [](LayerBuilder& to) { return to.remove("not/there"); }), layers);
}

TEST_F(VolumeLayerTest, ADirectoryThatIsRemovedAndMadeAnewHasOnlyWhatIsNew) {
  LayerNames layers = with({}, [&](LayerBuilder& to) {
    EXPECT_TRUE(to.put_file("d/x/old", store("1")).ok());
    return to.put_file("d/other", store("2"));
  });
  layers = with(layers, [&](LayerBuilder& to) {
    EXPECT_TRUE(to.remove("d").ok());
    return to.put_file("d/x/new", store("3"));
  });
  EXPECT_THAT(seen(layers),
              ElementsAre(Pair("d", "<dir>"), Pair("d/x", "<dir>"), Pair("d/x/new", "3")));
}

TEST_F(VolumeLayerTest, BytesAreLinkedAndNeverCopied) {
  LayerNames layers =
      with({}, [&](LayerBuilder& to) { return to.put_file("a", store("some text")); });
  layers = with(layers, [](LayerBuilder& to) { return to.copy("a", "d/b"); });
  const auto a = *tree(layers).find("a"), b = *tree(layers).find("d/b");
  EXPECT_EQ(a->inode, b->inode);
  EXPECT_EQ(a->inode, store("some text").inode);
}

TEST_F(VolumeLayerTest, AProgramIsOneInContainersToo) {
  const LayerNames layers = with({}, [&](LayerBuilder& to) {
    EXPECT_TRUE(to.put_file("plain", store("#!/bin/sh")).ok());
    return to.put_file("program", store("#!/bin/sh", FileKind::program));
  });
  EXPECT_FALSE((*tree(layers).find("plain"))->is_program);
  EXPECT_TRUE((*tree(layers).find("program"))->is_program);
}

TEST_F(VolumeLayerTest, ALinkIsNeverFollowed) {
  ASSERT_EQ(::symlink("/etc", (path + "/out").c_str()), 0);
  LayerNames layers = with({}, [](LayerBuilder& to) { return to.put_link("out", "/etc"); });
  EXPECT_FALSE((*tree(layers).find("out/passwd")).has_value());
  EXPECT_EQ(tree(layers).open_file("out/passwd").error().code, ErrorCode::not_found);
  EXPECT_EQ(tree(layers).list("out").error().code, ErrorCode::not_found);
  layers = with(layers, [&](LayerBuilder& to) { return to.put_file("out/mine", store("x")); });
  EXPECT_THAT(seen(layers), ElementsAre(Pair("out", "<dir>"), Pair("out/mine", "x")));
  EXPECT_FALSE(std::filesystem::exists("/etc/mine"));
}

TEST_F(VolumeLayerTest, WhatIsNotPublishedIsNotThere) {
  {
    const VolumeTree below = tree({});
    LayerBuilder builder(*blobs, below);
    ASSERT_TRUE(builder.put_file("a", store("x")).ok());
    EXPECT_FALSE(std::filesystem::is_empty(blobs->path() + "/tmp"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(blobs->path() + "/tmp"));
  EXPECT_TRUE(std::filesystem::is_empty(blobs->path() + "/layers"));
}

TEST_F(VolumeLayerTest, WhereAFileHasTooManyLinksAnotherCopyServes) {
  const StoredFile file = store("popular");
  const int root = blobs->root();
  ASSERT_TRUE(make_directories(root, "many", "many").ok());
  // Until the file system says that there are enough (ext4 at 65,000).
  for (int i = 0; i < 70'000; ++i) {
    const auto linked = blobs->link(file, root, "many/" + std::to_string(i));
    ASSERT_TRUE(linked.ok()) << i << ": " << linked.error().message;
  }
}

// --- a model ----------------------------------------------------------------------------------

class VolumeModelTest : public VolumeLayerTest, public testing::WithParamInterface<unsigned> {
 protected:
  unsigned below(unsigned limit) { return static_cast<unsigned>(random() % limit); }
  std::string some_path() {
    static constexpr const char* kNames[] = {"a", "b", "c"};
    std::string at = kNames[below(3)];
    for (unsigned depth = below(3); depth > 0; --depth) at += std::string("/") + kNames[below(3)];
    return at;
  }
  static bool is_below(const std::string& one, const std::string& directory) {
    return one.starts_with(directory + "/");
  }
  void forget(const std::string& at) {
    model.erase(at);
    std::erase_if(model, [&](const auto& entry) { return is_below(entry.first, at); });
  }
  // As a layer that comes on top has it: what is in the way goes.
  void place(const std::string& at, const std::string& what) {
    for (std::string above = parent_of(at); !above.empty(); above = parent_of(above)) {
      if (const auto found = model.find(above); found == model.end() || found->second != "<dir>") {
        model[above] = "<dir>";
      }
    }
    if (what != "<dir>") forget(at);
    model[at] = what;
  }
  Result<> change(LayerBuilder& to) {
    const std::string at = some_path();
    switch (below(6)) {
      case 0:
        forget(at);
        return to.remove(at);
      case 1:
        place(at, "-> x");
        return to.put_link(at, "x");
      case 2:
        place(at, "<dir>");
        return to.put_directory(at);
      default: {
        const std::string text = std::to_string(below(100));
        place(at, text);
        return to.put_file(at, store(text));
      }
    }
  }
  TreeTotals totals_of_model() const {
    TreeTotals sum;
    for (const auto& [at, what] : model) {
      if (what == "<dir>") continue;
      ++sum.files;
      if (!what.starts_with("-> ")) sum.bytes += static_cast<std::int64_t>(what.size());
    }
    return sum;
  }

  std::mt19937 random{GetParam()};
  Tree model;
};

TEST_P(VolumeModelTest, AnyChangesInAnyLayersGiveTheTreeThatAMapGivesMergedOrNot) {
  LayerNames layers;
  for (int round = 0; round < 60; ++round) {
    layers = with(layers, [&](LayerBuilder& to) -> Result<> {
      for (unsigned n = 1 + below(6); n > 0; --n) {
        if (auto done = change(to); !done) return done;
      }
      return Ok{};
    });
    ASSERT_EQ(seen(layers), model) << "seed " << GetParam() << ", round " << round;
    const TreeTotals expected = totals_of_model();
    ASSERT_EQ(totals.files, expected.files) << "seed " << GetParam() << ", round " << round;
    ASSERT_EQ(totals.bytes, expected.bytes);
    if (layers.size() < 3 || below(3) != 0) continue;
    const std::size_t first = below(static_cast<unsigned>(layers.size() - 1));
    const auto middle = layers.begin() + static_cast<std::ptrdiff_t>(first);
    const LayerNames under(layers.begin(), middle), merged(middle, layers.end());
    const std::string name = "merged-" + std::to_string(round);
    ASSERT_TRUE(merge_layers(*blobs, under, merged, name).ok());
    layers = under;
    layers.push_back(name);
    ASSERT_EQ(seen(layers), model) << "seed " << GetParam() << ", merged in round " << round;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, VolumeModelTest, testing::Range(1u, 21u));

TEST(MergePlanTest, AFewLayersStayAndOfManyThoseAtTheTopBecomeOne) {
  EXPECT_EQ(plan_merge(std::vector<std::int64_t>(16, 1)).first, 16u);
  std::vector<std::int64_t> entries(17, 1);
  EXPECT_EQ(plan_merge(entries).first, 0u);
  entries[0] = 100'000;
  EXPECT_EQ(plan_merge(entries).first, 1u);
  entries[8] = 50;
  EXPECT_EQ(plan_merge(entries).first, 9u);
}

}  // namespace
}  // namespace ember
