#include "node/apt_sources.h"

#include <filesystem>
#include <map>
#include <sstream>

#include "node/container_files.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultSuite = "bookworm";
const std::map<std::string, std::string> kPythons{
    {"bullseye", "3.9"}, {"bookworm", "3.11"}, {"trixie", "3.13"}};

// "bookworm", "bookworm-updates" and "bookworm/updates" are of bookworm.
bool is_of(const std::string& word, const std::string& suite) {
  return word == suite || word.starts_with(suite + "-") || word.starts_with(suite + "/");
}

std::string field_of(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + "=")) return line.substr(name.size() + 1);
  }
  return "";
}

std::string machine_suite() {
  const std::string text = read_file("/etc/os-release").value_or("");
  const std::string suite = field_of(text, "VERSION_CODENAME");
  return field_of(text, "ID") == "debian" && kPythons.contains(suite) ? suite : kDefaultSuite;
}

}  // namespace

std::string debian_suite() {
  static const std::string kSuite = machine_suite();
  return kSuite;
}

std::string debian_python() { return kPythons.at(debian_suite()); }

std::string list_of_suite(const std::string& text, const std::string& suite) {
  std::string kept;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::string rest = line;
    if (const auto open = rest.find('['), close = rest.find(']');
        open != std::string::npos && close != std::string::npos && open < close) {
      rest.erase(open, close - open + 1);
    }
    std::istringstream words(rest);
    std::string type, address, release;
    words >> type >> address >> release;
    if (type == "deb" && is_of(release, suite)) kept += line + "\n";
  }
  return kept;
}

std::string stanzas_of_suite(const std::string& text, const std::string& suite) {
  std::string kept, stanza;
  bool wanted = false;
  const auto end_stanza = [&] {
    if (wanted) kept += stanza + "\n";
    stanza.clear();
    wanted = false;
  };
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find_first_not_of(" \t") == std::string::npos) {
      end_stanza();
      continue;
    }
    if (line.starts_with('#')) continue;
    stanza += line + "\n";
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word != "Suites:") continue;
    while (words >> word) wanted = wanted || is_of(word, suite);
  }
  end_stanza();
  return kept;
}

Result<std::vector<std::string>> write_apt_sources(const std::string& directory) {
  std::string list = list_of_suite(read_file("/etc/apt/sources.list").value_or(""), debian_suite());
  std::string stanzas;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/etc/apt/sources.list.d", ignored)) {
    const std::string text = read_file(entry.path()).value_or("");
    if (entry.path().extension() == ".list") list += list_of_suite(text, debian_suite());
    if (entry.path().extension() == ".sources") stanzas += stanzas_of_suite(text, debian_suite());
  }
  std::vector<std::string> names;
  for (const auto& [name, text] : {std::pair{"debian.list", list}, {"debian.sources", stanzas}}) {
    if (text.empty()) continue;
    auto written = write_file(directory + "/" + name, text, 0644);
    if (!written.ok()) return std::move(written).error();
    names.emplace_back(name);
  }
  return names;
}

}  // namespace ember
