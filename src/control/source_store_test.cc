#include "control/source_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "control/digest.h"
#include "control/json.h"

namespace ember {
namespace {

using testing::HasSubstr;

class SourceStoreTest : public testing::Test {
 protected:
  SourceStoreTest() {
    std::string pattern = testing::TempDir() + "ember-source-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    store = std::make_unique<SourceStore>(directory_);
    EXPECT_TRUE(store->prepare().ok());
  }
  ~SourceStoreTest() override { std::filesystem::remove_all(directory_); }

  static JsonValue file(const std::string& path, const std::string& bytes) {
    return {{"path", path}, {"sha256", hex(sha256(bytes))}, {"size_bytes", bytes.size()}};
  }
  static std::string manifest(std::vector<JsonValue> files) {
    return dump_json({{"files", std::move(files)}});
  }
  std::string refusal(std::vector<JsonValue> files) {
    const auto result = store->register_manifest(manifest(std::move(files)));
    return result.ok() ? "accepted" : result.error().message;
  }
  std::string read(const std::string& path) {
    std::ifstream in(directory_ + "/" + path);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  std::string directory_;
  std::unique_ptr<SourceStore> store;
};

TEST_F(SourceStoreTest, LaysOutWhatWasUploadedAndAsksOnlyForWhatIsMissing) {
  const std::string text =
      manifest({file("pkg/sub/b.py", "bb"), file("a.py", "a"), file("copy.py", "a")});
  const auto first = store->register_manifest(text);
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(first->missing.size(), 2u);
  EXPECT_THAT(store->materialise(first->digest).error().message, HasSubstr("3 files"));
  for (const std::string bytes : {"a", "bb"}) {
    ASSERT_TRUE(store->put_blob(hex(sha256(bytes)), bytes).ok());
  }
  EXPECT_TRUE(store->register_manifest(text)->missing.empty());
  ASSERT_TRUE(store->materialise(first->digest).ok());
  ASSERT_TRUE(store->materialise(first->digest).ok()) << "again changes nothing";
  EXPECT_EQ(read("sources/" + first->digest + "/pkg/sub/b.py"), "bb");
  EXPECT_EQ(read("sources/" + first->digest + "/copy.py"), "a");
  const auto opened = store->open(first->digest);
  ASSERT_TRUE(opened.ok());
  struct stat status {};
  ASSERT_EQ(::fstat(opened->get(), &status), 0);
  EXPECT_TRUE(S_ISDIR(status.st_mode));
}

TEST_F(SourceStoreTest, NamesTheSameFilesTheSameInWhateverOrder) {
  const auto one = store->register_manifest(manifest({file("a", "1"), file("b", "2")}));
  const auto two = store->register_manifest(manifest({file("b", "2"), file("a", "1")}));
  EXPECT_EQ(one->digest, two->digest);
  EXPECT_TRUE(is_source_digest(one->digest));
}

TEST_F(SourceStoreTest, RefusesPathsThatLeadOut) {
  for (const char* path :
       {"", "/etc/passwd", "../x", "a/../x", "a//b", "./a", "a/.", "a\nb", "a\\b"}) {
    EXPECT_THAT(refusal({file(path, "x")}), HasSubstr("files[0].path")) << path;
  }
  EXPECT_THAT(refusal({file(std::string(300, 'a'), "x")}), HasSubstr("files[0].path"));
}

TEST_F(SourceStoreTest, RefusesWhatCannotBeLaidOut) {
  EXPECT_THAT(refusal({file("a", "x"), file("a", "y")}), HasSubstr("twice"));
  EXPECT_THAT(refusal({file("a", "x"), file("a-b", "x"), file("a/b", "y")}),
              HasSubstr("both a file and a directory"));
  EXPECT_THAT(refusal({}), HasSubstr("1 to 5000"));
  JsonValue large = file("a", "x");
  large["size_bytes"] = 200'000'001;
  EXPECT_THAT(refusal({large}), HasSubstr("size_bytes"));
  JsonValue half = file("a", "x"), other = file("b", "x");
  half["size_bytes"] = other["size_bytes"] = 150'000'000;
  EXPECT_THAT(refusal({half, other}), HasSubstr("the most is"));
}

TEST_F(SourceStoreTest, TakesNoBytesThatAreNotThoseNamed) {
  const auto wrong = store->put_blob(hex(sha256("a")), "b");
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code, ErrorCode::invalid_argument);
  EXPECT_FALSE(store->put_blob("../../x", "b").ok());
  EXPECT_FALSE(store->materialise("src-../../x").ok());
}

TEST_F(SourceStoreTest, RefusesAManifestWhoseSizesAreWrong) {
  JsonValue lying = file("a.py", "abc");
  lying["size_bytes"] = 2;
  const auto uploaded = store->register_manifest(manifest({lying}));
  ASSERT_TRUE(store->put_blob(hex(sha256("abc")), "abc").ok());
  EXPECT_THAT(store->materialise(uploaded->digest).error().message, HasSubstr("3 bytes"));
}

TEST_F(SourceStoreTest, RemovesWhatWasLeftHalfDone) {
  std::ofstream(directory_ + "/tmp/7") << "half";
  SourceStore again(directory_);
  ASSERT_TRUE(again.prepare().ok());
  EXPECT_TRUE(std::filesystem::is_empty(directory_ + "/tmp"));
}

}  // namespace
}  // namespace ember
