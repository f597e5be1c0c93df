#include "control/volume_drafts.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <thread>

#include "control/volume_changes.h"
#include "control/volume_fixture.h"

namespace ember {
namespace {

using testing::Each;
using testing::Eq;

class VolumeDraftsTest : public VolumeTest {
 protected:
  VolumeDraftsTest() {
    for (int i = 0; i < 2; ++i)
      chunks.push_back(std::string(kChunkBytes, static_cast<char>('a' + i)));
    chunks.push_back("the rest");
    for (const std::string& chunk : chunks) whole += chunk;
    restart();
  }
  void restart() {
    drafts.reset();
    reopen();
    drafts = std::make_unique<VolumeDrafts>(*blobs);
    ASSERT_TRUE(drafts->prepare().ok());
  }
  Result<VolumeDrafts::Digests> begin() { return drafts->begin(name, size()); }
  std::int64_t size() const { return static_cast<std::int64_t>(whole.size()); }
  void put(std::size_t index) {
    const auto done = drafts->put_chunk(name, index, chunks[index]);
    ASSERT_TRUE(done.ok()) << done.error().message;
  }
  void put_all() {
    ASSERT_TRUE(begin().ok());
    for (std::size_t i = 0; i < chunks.size(); ++i) put(i);
  }
  std::string stored(const std::string& id) {
    const std::string blob = "blobs/" + id.substr(0, 2) + "/" + id.substr(2);
    const UniqueFd file = open_beneath(blobs->root(), blob, O_RDONLY);
    return file ? *read_range(file.get(), 0, whole.size() + 1, blob) : "";
  }
  std::size_t on_their_way() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(blobs->path() + "/drafts"),
                      std::filesystem::directory_iterator()));
  }

  const std::string name = std::string(64, 'd');
  std::vector<std::string> chunks;
  std::string whole;
  std::unique_ptr<VolumeDrafts> drafts;
};

TEST_F(VolumeDraftsTest, AWholeDraftBecomesTheFileWithTheIdOfItsBytes) {
  EXPECT_THAT(*begin(), Each(Eq(std::nullopt)));
  for (const std::size_t index : {2, 0, 0, 1}) put(index);
  EXPECT_EQ(*drafts->finish(name), id_of(whole));
  EXPECT_TRUE(stored(id_of(whole)) == whole);
  EXPECT_EQ(blobs->find(id_of(whole), FileKind::plain)->size_bytes, size());
  EXPECT_EQ(on_their_way(), 0u);
  EXPECT_EQ(drafts->finish(name).error().code, ErrorCode::conflict);
  EXPECT_EQ(drafts->put_chunk(name, 0, chunks[0]).error().code, ErrorCode::conflict);
}

TEST_F(VolumeDraftsTest, ADraftThatIsTakenUpTellsWhatItHas) {
  ASSERT_TRUE(begin().ok());
  put(1);
  const VolumeDrafts::Digests here{std::nullopt, sha256(chunks[1]), std::nullopt};
  EXPECT_EQ(*begin(), here);
  EXPECT_EQ(drafts->finish(name).error().code, ErrorCode::conflict) << "some are missing";
  put(0);
  put(2);
  EXPECT_EQ(*drafts->finish(name), id_of(whole));
}

TEST_F(VolumeDraftsTest, OfAChunkThatComesTwiceTheLaterOneStays) {
  put_all();
  ASSERT_TRUE(drafts->put_chunk(name, 2, "tser eht").ok());
  whole.replace(whole.size() - 8, 8, "tser eht");
  EXPECT_EQ(*drafts->finish(name), id_of(whole));
  EXPECT_TRUE(stored(id_of(whole)) == whole);
}

TEST_F(VolumeDraftsTest, TwoWhoPutTheSameChunkAtOnceLeaveOneOfTheirs) {
  put_all();
  const std::string other(kChunkBytes, 'x');
  std::vector<std::thread> clients;
  for (const std::string& chunk : {chunks[0], other}) {
    clients.emplace_back([this, chunk] {
      for (int i = 0; i < 4; ++i) EXPECT_TRUE(drafts->put_chunk(name, 0, chunk).ok());
    });
  }
  for (std::thread& client : clients) client.join();
  const std::string id = *drafts->finish(name);
  EXPECT_EQ(id, id_of(stored(id)));
}

TEST_F(VolumeDraftsTest, AnotherLifeOfTheServerTellsWhatIsOnDiskAsItIs) {
  ASSERT_TRUE(begin().ok());
  put(1);
  restart();
  EXPECT_EQ(drafts->put_chunk(name, 0, chunks[0]).error().code, ErrorCode::conflict);
  const VolumeDrafts::Digests here{sha256(std::string(kChunkBytes, '\0')), sha256(chunks[1]),
                                   std::nullopt};
  EXPECT_EQ(*begin(), here) << "a hole is zeros";
  put(0);
  put(2);
  EXPECT_EQ(*drafts->finish(name), id_of(whole));
  EXPECT_TRUE(stored(id_of(whole)) == whole);
}

TEST_F(VolumeDraftsTest, WhatIsLeftOfALongerDraftIsCutOff) {
  ASSERT_TRUE(drafts->begin(name, 4 * kChunkBytes).ok());
  ASSERT_TRUE(drafts->put_chunk(name, 3, chunks[0]).ok());
  restart();
  put_all();
  EXPECT_EQ(*drafts->finish(name), id_of(whole));
  EXPECT_TRUE(stored(id_of(whole)) == whole);
}

TEST_F(VolumeDraftsTest, AFileThatIsHereAlreadyStays) {
  put_all();
  const std::string id = *drafts->finish(name);
  const ino_t inode = blobs->find(id, FileKind::plain)->inode;
  put_all();
  EXPECT_EQ(*drafts->finish(name), id);
  EXPECT_EQ(blobs->find(id, FileKind::plain)->inode, inode);
  EXPECT_EQ(on_their_way(), 0u);
}

TEST_F(VolumeDraftsTest, WhatIsNoDraftAndNoChunkOfItIsRefused) {
  for (const char* wrong : {"", "../x", "DDDD"}) {
    EXPECT_EQ(drafts->begin(wrong, 1).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(drafts->put_chunk(wrong, 0, "x").error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(drafts->finish(wrong).error().code, ErrorCode::invalid_argument);
  }
  for (const std::int64_t wrong : {std::int64_t{0}, std::int64_t{-1}, kMaxVolumeFileBytes + 1}) {
    EXPECT_EQ(drafts->begin(name, wrong).error().code, ErrorCode::invalid_argument);
  }
  EXPECT_EQ(drafts->put_chunk(name, 0, chunks[0]).error().code, ErrorCode::conflict);
  ASSERT_TRUE(begin().ok());
  EXPECT_EQ(drafts->begin(name, size() + 1).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(drafts->put_chunk(name, 0, chunks[2]).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(drafts->put_chunk(name, 2, chunks[0]).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(drafts->put_chunk(name, 3, "x").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(drafts->put_chunk(name, 3, "").error().code, ErrorCode::invalid_argument);
}

TEST_F(VolumeDraftsTest, ADraftThatNobodyGoesOnWithIsCollectedAfterADay) {
  ASSERT_TRUE(begin().ok());
  put(0);
  drafts->collect();
  EXPECT_EQ(on_their_way(), 1u);
  const timespec long_ago[2] = {{1, 0}, {1, 0}};
  ASSERT_EQ(::utimensat(blobs->root(), ("drafts/" + name).c_str(), long_ago, 0), 0);
  drafts->collect();
  EXPECT_EQ(on_their_way(), 0u);
  EXPECT_EQ(drafts->put_chunk(name, 1, chunks[1]).error().code, ErrorCode::conflict);
  EXPECT_THAT(*begin(), Each(Eq(std::nullopt)));
}

TEST_F(VolumeDraftsTest, AFileIsFoundByItsFirstChunkAndSizeAsLongAsItIsHere) {
  const std::string head = hex(sha256(chunks[0]));
  EXPECT_FALSE(blobs->may_have(head, size()));
  put_all();
  EXPECT_FALSE(blobs->may_have(head, size())) << "a draft is not for others";
  const std::string id = *drafts->finish(name);
  EXPECT_TRUE(blobs->may_have(head, size()));
  EXPECT_FALSE(blobs->may_have(head, size() + 1));
  EXPECT_FALSE(blobs->may_have(hex(sha256(chunks[1])), size()));
  const std::string asked =
      R"({"head": ")" + head + R"(", "size_bytes": )" + std::to_string(size()) + "}";
  EXPECT_EQ(*needed_files(asked, *blobs), R"({"needed":[],"maybe":[")" + head + R"("]})");
  EXPECT_FALSE(needed_files(R"({"head": "../x", "size_bytes": 1})", *blobs).ok());

  const std::string noted = "heads/" + head + "." + std::to_string(size());
  ASSERT_EQ(::unlinkat(blobs->root(), noted.c_str(), 0), 0);
  blobs->collect();
  EXPECT_TRUE(blobs->may_have(head, size())) << "noted anew";

  const timespec long_ago[2] = {{1, 0}, {1, 0}};
  const std::string blob = "blobs/" + id.substr(0, 2) + "/" + id.substr(2);
  for (const std::string& old : {noted, blob}) {
    ASSERT_EQ(::utimensat(blobs->root(), old.c_str(), long_ago, 0), 0);
  }
  blobs->collect();
  EXPECT_FALSE(blobs->may_have(head, size()));
}

}  // namespace
}  // namespace ember
