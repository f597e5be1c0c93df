// The targets without a fuzzer: every input of the corpora, and a fixed number of mutations of
// each.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/random.h"
#include "targets.h"

namespace ember::fuzz {
namespace {

constexpr int kMutationsOfEach = 300;

// The same each time, unless told otherwise.
std::uint64_t seed() {
  const char* given = std::getenv("EMBER_FUZZ_SEED");
  return given ? std::strtoull(given, nullptr, 10) : 20261126;
}

std::vector<std::string> corpus_of(const std::string& target) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(EMBER_FUZZ_CORPUS "/" + target)) {
    paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  std::vector<std::string> inputs;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

std::string mutated(std::string bytes, const std::vector<std::string>& corpus, Random& random) {
  for (std::uint64_t i = 1 + random.below(4); i > 0 && !bytes.empty(); --i) {
    const std::size_t at = random.below(bytes.size());
    const std::string& other = corpus[random.below(corpus.size())];
    switch (random.below(5)) {
      case 0:
        bytes[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        bytes.erase(at, 1 + random.below(8));
        break;
      case 2:
        bytes.insert(at, 1 + random.below(3), bytes[random.below(bytes.size())]);
        break;
      case 3:
        bytes.insert(at, bytes.substr(random.below(bytes.size()), random.below(40)));
        break;
      default:
        bytes = bytes.substr(0, at) + other.substr(std::min(at, other.size()));
    }
  }
  return bytes;
}

class ReplayTest : public ::testing::TestWithParam<Target> {};

TEST_P(ReplayTest, SurvivesItsCorpusAndMutationsOfIt) {
  const auto corpus = corpus_of(GetParam().name);
  ASSERT_FALSE(corpus.empty());
  SCOPED_TRACE(seed());
  Random random(seed());
  GetParam().run("");
  for (const std::string& input : corpus) {
    GetParam().run(input);
    for (int i = 0; i < kMutationsOfEach; ++i) GetParam().run(mutated(input, corpus, random));
  }
}

INSTANTIATE_TEST_SUITE_P(Fuzz, ReplayTest, ::testing::ValuesIn(kTargets),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace ember::fuzz
