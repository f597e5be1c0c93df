#include "control/volume_blobs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>

#include "control/volume_fixture.h"

namespace ember {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class VolumeBlobsTest : public VolumeTest {
 protected:
  VolumeBlobsTest() {
    for (int i = 0; i < 3; ++i)
      chunks.push_back(std::string(kChunkBytes, static_cast<char>('a' + i)));
    chunks.push_back("the rest");
    for (const std::string& chunk : chunks) {
      const Sha256 digest = sha256(chunk);
      digests.append(reinterpret_cast<const char*>(digest.data()), digest.size());
      size += static_cast<std::int64_t>(chunk.size());
    }
    id = hex(sha256(digests));
  }
  Result<std::vector<std::size_t>> begin() { return blobs->begin(id, size, digests); }

  std::vector<std::string> chunks;
  std::string digests, id;
  std::int64_t size = 0;
};

TEST_F(VolumeBlobsTest, ALargeFileIsThereWhenItsLastChunkIs) {
  EXPECT_THAT(*begin(), ElementsAre(0, 1, 2, 3));
  EXPECT_FALSE(*blobs->put_chunk(id, 3, chunks[3]));
  EXPECT_FALSE(*blobs->put_chunk(id, 0, chunks[0]));
  EXPECT_FALSE(*blobs->put_chunk(id, 0, chunks[0])) << "twice is once";
  EXPECT_FALSE(*blobs->put_chunk(id, 1, chunks[1]));
  EXPECT_EQ(blobs->find(id, FileKind::plain).error().code, ErrorCode::not_found);
  EXPECT_TRUE(*blobs->put_chunk(id, 2, chunks[2]));
  EXPECT_EQ(blobs->find(id, FileKind::plain)->size_bytes, size);
  EXPECT_THAT(*begin(), IsEmpty());
}

// Whole blocks go past the page cache, what is left at the end through it.
TEST_F(VolumeBlobsTest, WhatIsWrittenPastTheCacheIsReadAsItWas) {
  const std::string name = path + "/written";
  std::string bytes;
  for (int i = 0; bytes.size() < (1u << 20) + 4096 + 5; ++i) bytes += std::to_string(i);
  const UniqueFd file(::open(name.c_str(), O_RDWR | O_CREAT, 0600));
  const UniqueFd direct(::open(name.c_str(), O_WRONLY | O_DIRECT));
  for (const int past_cache : {direct.get(), -1}) {
    for (const std::size_t length :
         {std::size_t{0}, std::size_t{5}, std::size_t{4096}, bytes.size()}) {
      ASSERT_EQ(::ftruncate(file.get(), 0), 0);
      const std::string_view some = std::string_view(bytes).substr(0, length);
      ASSERT_TRUE(write_past_cache({file.get(), past_cache}, some, 8192, name).ok());
      EXPECT_EQ(*read_range(file.get(), 8192, bytes.size() + 1, name), some);
    }
  }
  const UniqueFd unwritable(::open(name.c_str(), O_RDONLY));
  EXPECT_FALSE(write_past_cache({unwritable.get(), unwritable.get()}, bytes, 0, name).ok());
}

TEST_F(VolumeBlobsTest, AnotherLifeOfTheServerGoesOnWithWhatIsOnDiskAndBelievesNothingElse) {
  ASSERT_TRUE(begin().ok());
  ASSERT_TRUE(blobs->put_chunk(id, 0, chunks[0]).ok());
  ASSERT_TRUE(blobs->put_chunk(id, 2, chunks[2]).ok());
  const UniqueFd file(::open((blobs->path() + "/incoming/" + id).c_str(), O_WRONLY));
  ASSERT_EQ(::pwrite(file.get(), "damage", 6, 2 * kChunkBytes + 5), 6);
  reopen();
  EXPECT_THAT(*begin(), ElementsAre(1, 2, 3));
}

TEST_F(VolumeBlobsTest, WhatIsNotTheChunkIsRefused) {
  EXPECT_EQ(blobs->put_chunk(id, 0, chunks[0]).error().code, ErrorCode::conflict);
  ASSERT_TRUE(begin().ok());
  EXPECT_EQ(blobs->put_chunk(id, 1, chunks[0]).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(blobs->put_chunk(id, 3, chunks[0]).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(blobs->put_chunk(id, 4, "x").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(blobs->begin(id, size + kChunkBytes, digests).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(blobs->begin(id, 0, "").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(blobs->begin("../" + id, size, digests).error().code, ErrorCode::invalid_argument);
}

TEST_F(VolumeBlobsTest, AFileIsAsLongAsItsChunksWhateverWasSaidWhenItBegan) {
  ASSERT_TRUE(blobs->begin(id, size + 1, digests).ok());
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    ASSERT_TRUE(blobs->put_chunk(id, i, chunks[i]).ok());
  }
  EXPECT_EQ(blobs->find(id, FileKind::plain)->size_bytes, size);
}

TEST_F(VolumeBlobsTest, ABatchThatIsCutOffIsRefused) {
  const std::string one("\x03\0\0\0abc", 7);
  EXPECT_EQ(*blobs->put_whole(one + one), 2u);
  EXPECT_FALSE(blobs->put_whole(one.substr(0, 6)).ok());
  EXPECT_FALSE(blobs->put_whole(one + "\x01").ok());
  EXPECT_FALSE(blobs->put_whole(std::string("\xff\xff\xff\xff", 4)).ok());
}

TEST_F(VolumeBlobsTest, AFileOfAContainerIsTakenAsItIsAndLinkedWhereNobodyWritesAnyMore) {
  std::ofstream(path + "/copied") << "copied";
  std::ofstream(path + "/linked") << "linked";
  const UniqueFd directory(::open(path.c_str(), O_PATH | O_DIRECTORY));
  for (const auto& [name, how] :
       {std::pair("copied", Take::copy), std::pair("linked", Take::link)}) {
    const UniqueFd file(::openat(directory.get(), name, O_RDONLY));
    struct stat status {};
    ASSERT_EQ(::fstat(file.get(), &status), 0);
    const auto taken = blobs->take(file.get(), directory.get(), name, FileKind::plain, how);
    ASSERT_TRUE(taken.ok());
    EXPECT_EQ(taken->id, id_of(name));
    EXPECT_EQ(taken->inode == status.st_ino, how == Take::link);
  }
}

TEST_F(VolumeBlobsTest, WhatNobodyHasIsCollectedAfterADay) {
  const StoredFile used = store("used"), fresh = store("fresh"), old = store("old");
  ASSERT_TRUE(blobs->link(used, blobs->root(), "held").ok());
  const timespec long_ago[2] = {{1, 0}, {1, 0}};
  for (const StoredFile& file : {used, old}) {
    const std::string name = "blobs/" + file.id.substr(0, 2) + "/" + file.id.substr(2);
    ASSERT_EQ(::utimensat(blobs->root(), name.c_str(), long_ago, 0), 0);
  }
  blobs->collect();
  EXPECT_TRUE(blobs->find(used.id, FileKind::plain).ok());
  EXPECT_TRUE(blobs->find(fresh.id, FileKind::plain).ok());
  EXPECT_FALSE(blobs->find(old.id, FileKind::plain).ok());
}

}  // namespace
}  // namespace ember
