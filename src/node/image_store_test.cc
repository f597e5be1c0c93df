#include "node/image_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "node/uv.h"

namespace ember {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

// Writes a wheel of one module, and one that has no wheel but a source archive.
constexpr const char* kMakeWheels = R"py(
import sys, tarfile, zipfile, io
where = sys.argv[1]
def wheel(name, version, requires=""):
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(f"{where}/{name}-{version}-py3-none-any.whl", "w") as z:
        z.writestr(f"{name}.py", f"version = '{version}'\n")
        z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
        z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
wheel("emberleaf", "1.0")
wheel("emberleaf", "2.0")
wheel("embertree", "1.0", "Requires-Dist: emberleaf>=2\n")
wheel("emberbranch", "1.0", "Requires-Dist: emberleaf\n")
with tarfile.open(f"{where}/embersource-1.0.tar.gz", "w:gz") as t:
    text = b"raise SystemExit('code of a package ran')\n"
    entry = tarfile.TarInfo("embersource-1.0/setup.py")
    entry.size = len(text)
    t.addfile(entry, io.BytesIO(text))
)py";

std::string uv_program() {
  for (const char* name : {EMBER_CHECKOUT "/.venv/bin/uv", "uv"}) {
    if (const auto found = find_program(name)) return *found;
  }
  return "";
}

class ImageStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/ember-images-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    ::chmod(name, 0755);
    root_ = name;
    if (uv_program().empty()) GTEST_SKIP() << "uv is not installed: make setup brings it";
    fs::create_directories(root_ + "/wheels");
    fs::create_directories(root_ + "/node/layers");
    std::ofstream(root_ + "/make.py") << kMakeWheels;
    ASSERT_EQ(std::system(("/usr/bin/python3 " + root_ + "/make.py " + root_ + "/wheels").c_str()),
              0);
    ::setenv("UV_OFFLINE", "1", 1);
    ::setenv("UV_FIND_LINKS", (root_ + "/wheels").c_str(), 1);
    open_store();
  }
  void TearDown() override {
    ::unsetenv("UV_OFFLINE");
    ::unsetenv("UV_FIND_LINKS");
    wait_for_removals();
    store_.reset();
    std::error_code error;
    fs::remove_all(root_, error);
    EXPECT_FALSE(error) << error.message();
  }

  // What was thrown away goes by a process.
  void wait_for_removals() {
    const auto removing = [&] {
      std::error_code ignored;
      for (const auto& one : fs::directory_iterator(root_ + "/node/layers", ignored)) {
        if (one.path().filename().string().starts_with("gone-")) return true;
      }
      return false;
    };
    loop_.restart();
    while (removing()) loop_.run_one_for(std::chrono::milliseconds(10));
  }
  void open_store() {
    store_.emplace(loop_, processes_,
                   LayerTools{.node_directory = root_ + "/node", .uv = uv_program()});
  }
  static ImageSpec image(std::vector<std::vector<std::string>> steps) {
    ImageSpec spec;
    for (auto& packages : steps) {
      spec.steps.push_back({.kind = "uv_pip_install", .arguments = std::move(packages)});
    }
    return spec;
  }
  // Starts it; the result stands in results_ when it has ended.
  void begin(const ImageSpec& spec) {
    const std::size_t place = results_.size();
    results_.emplace_back();
    store_->build({.spec = spec},
                  {.on_line = [this](std::string line) { lines_ += line + "\n"; },
                   .on_end = [this, place](Result<> result) { results_[place] = result; }});
  }
  void finish() {
    const auto done = [&] {
      return std::all_of(results_.begin(), results_.end(),
                         [](auto& one) { return one.has_value(); });
    };
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(90);
    loop_.restart();
    while (!done()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << lines_;
      loop_.run_one_for(std::chrono::milliseconds(100));
    }
  }
  Result<> build(const ImageSpec& spec) {
    begin(spec);
    finish();
    return results_.back().value_or(Result<>(ErrorCode::internal, "no end"));
  }
  std::size_t layers_on_disk() const {
    std::size_t count = 0;
    for (const auto& one : fs::directory_iterator(root_ + "/node/layers")) {
      const fs::path name = one.path().filename();
      if (name.string().starts_with("la-") && name.extension() != ".part") ++count;
    }
    return count;
  }

  boost::asio::io_context loop_{1};
  ProcessTable processes_{loop_};
  std::string root_;
  std::optional<ImageStore> store_;
  std::vector<std::optional<Result<>>> results_;
  std::string lines_;
};

TEST_F(ImageStoreTest, TheMachineItselfNeedsNoLayer) {
  EXPECT_TRUE(build(ImageSpec{}).ok());
  EXPECT_FALSE(store_->find(ImageSpec{})->has_own_root());
}

TEST_F(ImageStoreTest, AStepBecomesAReadableLayerWithBytecode) {
  const auto spec = image({{"embertree"}});
  EXPECT_FALSE(store_->find(spec));
  const auto built = build(spec);
  ASSERT_TRUE(built.ok()) << built.error().message;
  EXPECT_THAT(lines_, AllOf(HasSubstr("embertree"), HasSubstr("emberleaf")));
  const auto found = store_->find(spec);
  ASSERT_TRUE(found);
  const auto* layers = &found->packages;
  ASSERT_EQ(layers->size(), 1u);
  EXPECT_TRUE(fs::exists(layers->at(0) + "/emberleaf.py"));
  EXPECT_FALSE(fs::is_empty(layers->at(0) + "/__pycache__"));
  for (const auto& entry : fs::recursive_directory_iterator(layers->at(0))) {
    const auto needed = entry.is_directory() ? fs::perms(05) : fs::perms(04);
    EXPECT_EQ(entry.status().permissions() & needed, needed) << entry.path();
  }
}

TEST_F(ImageStoreTest, ALayerIsBuiltOnceAndSharedByItsPrefix) {
  begin(image({{"emberleaf==1.0"}}));
  begin(image({{"emberleaf==1.0"}}));
  begin(image({{"emberleaf==1.0"}, {"embertree"}}));
  finish();
  for (const auto& result : results_) EXPECT_TRUE(result->ok()) << result->error().message;
  EXPECT_EQ(layers_on_disk(), 2u);
  std::size_t installs = 0;
  for (std::size_t at = 0; (at = lines_.find("+ emberleaf==1.0", at)) != std::string::npos; ++at) {
    ++installs;
  }
  EXPECT_EQ(installs, 3u) << "one build, told to each of the three who waited\n" << lines_;
  lines_.clear();
  EXPECT_TRUE(build(image({{"emberleaf==1.0"}})).ok());
  EXPECT_EQ(lines_, "");
}

TEST_F(ImageStoreTest, AFileOfTheCacheIsInTheLayerWithoutASecondCopy) {
  ASSERT_TRUE(build(image({{"emberleaf==1.0"}})).ok());
  struct stat status {};
  const std::string file =
      store_->find(image({{"emberleaf==1.0"}}))->packages.at(0) + "/emberleaf.py";
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_nlink, 2u);
}

TEST_F(ImageStoreTest, ALaterStepKeepsWhatAnEarlierOneInstalledWhereItCan) {
  const auto pinned = image({{"emberleaf==1.0"}, {"emberbranch"}});
  ASSERT_TRUE(build(pinned).ok()) << lines_;
  EXPECT_THAT(lines_, testing::Not(HasSubstr("emberleaf==2.0")));
  ASSERT_TRUE(build(image({{"emberleaf==1.0"}, {"embertree"}})).ok()) << "which takes a newer one";
  EXPECT_THAT(lines_, HasSubstr("+ emberleaf==2.0"));
}

TEST_F(ImageStoreTest, AStepWithoutDependenciesHasItsPackagesAlone) {
  ImageSpec alone = image({{"embertree"}});
  alone.steps[0].options["no_deps"] = "true";
  ASSERT_TRUE(build(alone).ok()) << lines_;
  const std::string packages = store_->find(alone)->packages.at(0);
  EXPECT_TRUE(fs::exists(packages + "/embertree.py"));
  EXPECT_FALSE(fs::exists(packages + "/emberleaf.py"));
}

TEST_F(ImageStoreTest, AnotherLifeOfTheStoreFindsWhatWasBuiltAndDropsWhatWasNot) {
  ASSERT_TRUE(build(image({{"emberleaf"}})).ok());
  fs::create_directories(root_ + "/node/layers/la-half.part/x");
  store_.reset();
  open_store();
  EXPECT_TRUE(store_->find(image({{"emberleaf"}})));
  EXPECT_EQ(layers_on_disk(), 1u);
}

TEST_F(ImageStoreTest, AFailureNamesTheStepTheLastLinesAndWhatToDo) {
  const auto built = build(image({{"emberleaf"}, {"no-such-package-of-ember"}}));
  ASSERT_FALSE(built.ok());
  EXPECT_EQ(built.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(built.error().message,
              AllOf(HasSubstr("step 2"), HasSubstr("no-such-package-of-ember")));
  EXPECT_EQ(layers_on_disk(), 1u);
}

TEST_F(ImageStoreTest, PipsFoldersOfWheelsAreUsedIfTheyAreThere) {
  ::unsetenv("UV_FIND_LINKS");
  ::setenv("PIP_FIND_LINKS", (root_ + "/gone " + root_ + "/wheels").c_str(), 1);
  const auto built = build(image({{"emberleaf"}}));
  ::unsetenv("PIP_FIND_LINKS");
  EXPECT_TRUE(built.ok()) << built.error().message;
}

TEST_F(ImageStoreTest, ARelativePathLeadsNowhere) {
  ::unsetenv("UV_FIND_LINKS");
  const std::string path = root_.substr(1) + "/wheels/emberleaf-1.0-py3-none-any.whl";
  ASSERT_TRUE(fs::exists("/" + path));
  EXPECT_FALSE(build(image({{path}})).ok());
}

TEST_F(ImageStoreTest, NoCodeOfAPackageRunsAtBuild) {
  const auto built = build(image({{"embersource"}}));
  ASSERT_FALSE(built.ok());
  EXPECT_THAT(built.error().message, testing::Not(HasSubstr("code of a package ran")));
  EXPECT_THAT(built.error().message, HasSubstr("wheel"));
}

TEST(Image, ItsIdFollowsFromItsStepsAlone) {
  ImageSpec one, two;
  one.steps = two.steps = {{.kind = "uv_pip_install", .arguments = {"a", "b"}}};
  EXPECT_EQ(image_id(one), image_id(two));
  EXPECT_EQ(image_id(one).size(), 35u);
  two.steps[0].arguments = {"b", "a"};
  EXPECT_NE(image_id(one), image_id(two));
}

}  // namespace
}  // namespace ember
