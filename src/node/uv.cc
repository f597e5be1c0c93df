#include "node/uv.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "base/disk_error.h"
#include "node/apt_sources.h"
#include "node/container_files.h"
#include "node/runner_env.h"
#include "node/stage.h"

extern char** environ;

namespace ember {
namespace {

namespace fs = std::filesystem;

// Builds run as an id without a name, which owns nothing but layers and uv's cache.
constexpr uid_t kBuildUid = 61'778;

std::optional<std::string> variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

std::string trimmed(std::string text) {
  const auto is_space = [](unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), is_space));
  text.erase(std::find_if_not(text.rbegin(), text.rend(), is_space).base(), text.end());
  return text;
}

// [global] and [install] of one of pip's files; a value may go on in indented lines.
void read_pip_file(const std::string& path, std::map<std::string, std::string>& settings) {
  std::ifstream file(path);
  std::string section, last_key;
  for (std::string line; std::getline(file, line);) {
    const std::string text = trimmed(line);
    if (text.empty() || text[0] == '#' || text[0] == ';') continue;
    if (text[0] == '[') {
      section = text;
      last_key.clear();
      continue;
    }
    if (section != "[global]" && section != "[install]") continue;
    const bool continued = (line[0] == ' ' || line[0] == '\t') && !last_key.empty();
    const auto split = text.find_first_of("=:");
    if (continued) {
      settings[last_key] += (settings[last_key].empty() ? "" : " ") + text;
    } else if (split != std::string::npos) {
      last_key = trimmed(text.substr(0, split));
      std::replace(last_key.begin(), last_key.end(), '_', '-');
      settings[last_key] = trimmed(text.substr(split + 1));
    }
  }
}

std::map<std::string, std::string> pip_settings() {
  std::vector<std::string> files{"/etc/xdg/pip/pip.conf", "/etc/pip.conf"};
  if (const auto home = variable("HOME")) {
    files.push_back(*home + "/.pip/pip.conf");
    files.push_back(*home + "/.config/pip/pip.conf");
  }
  if (const auto file = variable("PIP_CONFIG_FILE")) files.push_back(*file);
  std::map<std::string, std::string> settings;
  for (const std::string& file : files) read_pip_file(file, settings);
  return settings;
}

// pip passes over folders of wheels that are not there, uv ends with an error; pip parts them by
// blanks, uv by commas.
std::string existing_links(const std::string& pip_value) {
  std::istringstream words(pip_value);
  std::string links;
  for (std::string link; words >> link;) {
    std::error_code ignored;
    if (link.find("://") == std::string::npos && !fs::exists(link, ignored)) continue;
    links += (links.empty() ? "" : ",") + link;
  }
  return links;
}

bool uv_has_own_index() {
  for (const char* name : {"UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_CONFIG_FILE"}) {
    if (variable(name)) return true;
  }
  std::error_code ignored;
  const auto home = variable("HOME");
  return fs::exists("/etc/uv/uv.toml", ignored) ||
         (home && fs::exists(*home + "/.config/uv/uv.toml", ignored));
}

std::vector<std::string> build_env(const std::string& cache) {
  std::vector<std::string> env{"PATH=/usr/local/bin:/usr/bin:/bin",
                               "LANG=C.UTF-8",
                               "HOME=" + cache,
                               "UV_CACHE_DIR=" + cache,
                               "UV_NO_PROGRESS=1",
                               "NO_COLOR=1",
                               "UV_PYTHON_DOWNLOADS=never"};
  for (std::string& setting : index_settings()) env.push_back(std::move(setting));
  return env;
}

bool become_builder() {
  ::umask(022);
  return ::setgroups(0, nullptr) == 0 && ::setresgid(kBuildUid, kBuildUid, kBuildUid) == 0 &&
         ::setresuid(kBuildUid, kBuildUid, kBuildUid) == 0 &&
         ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

Result<> make_directory_for(const std::string& path, bool for_builder) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return disk_error(path, error.value());
  if (for_builder && ::chown(path.c_str(), kBuildUid, kBuildUid) != 0) {
    return disk_error(path, errno).within("chown");
  }
  if (::chmod(path.c_str(), 0755) != 0) {
    return disk_error(path, errno).within("chmod");
  }
  return Ok{};
}

// As uv names what wheels are built for.
std::string platform_of(const std::string& libc) {
#if defined(__x86_64__)
  const std::string machine = "x86_64";
#elif defined(__aarch64__)
  const std::string machine = "aarch64";
#endif
  if (!libc.starts_with("glibc 2.")) return machine + "-unknown-linux-musl";
  const int minor = std::atoi(libc.c_str() + 8);
  const int known = minor >= 31 ? std::min(minor, 40) : minor >= 28 ? 28 : 17;
  return machine + "-manylinux_2_" + std::to_string(known);
}

// `directory` and the uv program as the process sees them.
std::vector<std::string> arguments(const UvInstall& install, const std::string& uv,
                                   const std::string& directory) {
  std::vector<std::string> argv{uv,
                                "pip",
                                "install",
                                "--target",
                                directory + "/" + install.target + "/packages",
                                "--python",
                                kPython,
                                "--only-binary",
                                ":all:",
                                "--link-mode",
                                "hardlink",
                                "--no-progress"};
  // Bytecode is of one version of Python, and made by the machine's own.
  if (install.python_version.empty() || install.python_version == debian_python()) {
    argv.push_back("--compile-bytecode");
  }
  if (!install.python_version.empty()) {
    argv.insert(argv.end(), {"--python-version", install.python_version, "--python-platform",
                             platform_of(install.libc)});
  }
  if (!install.constraints.empty()) {
    argv.insert(argv.end(), {"--constraint", directory + "/" + install.target + "/constraints"});
  }
  if (install.no_deps) argv.emplace_back("--no-deps");
  argv.push_back("--");
  argv.insert(argv.end(), install.packages.begin(), install.packages.end());
  return argv;
}

bool is_staged() {
  static const bool kStaged = ::geteuid() == 0 && can_stage();
  return kStaged;
}

}  // namespace

std::optional<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    if (::access(name.c_str(), X_OK) != 0) return std::nullopt;
    std::error_code ignored;
    return fs::absolute(name, ignored).string();
  }
  std::istringstream path(variable("PATH").value_or("/usr/local/bin:/usr/bin:/bin"));
  for (std::string directory; std::getline(path, directory, ':');) {
    const std::string candidate = directory + "/" + name;
    if (!directory.empty() && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return std::nullopt;
}

std::string uv_directory(const std::string& node_directory) {
  return node_directory + "/layers/uv";
}

std::string uv_target(const UvInstall& install) {
  return install.directory + "/" + install.target + "/packages";
}

Result<Command> uv_install(const UvInstall& install) {
  if (install.uv.empty()) {
    return {ErrorCode::unavailable,
            "uv is not installed on this node; install it, for example with \"make setup\""};
  }
  const std::string made = install.directory + "/" + install.target;
  std::error_code ignored;
  fs::remove_all(made, ignored);
  for (const std::string& path :
       {install.directory, install.directory + "/cache", made, made + "/packages"}) {
    if (auto done = make_directory_for(path, is_staged()); !done.ok()) {
      return std::move(done).error();
    }
  }
  if (!install.constraints.empty()) {
    std::string lines;
    for (const std::string& one : install.constraints) lines += one + "\n";
    auto written = write_file(made + "/constraints", lines, 0644);
    if (!written.ok()) return std::move(written).error();
  }
  // It begins in the layer, which is empty: what it may take for a relative path leads nowhere.
  Command command;
  command.output = install.output;
  if (!is_staged()) {
    command.argv = arguments(install, install.uv, install.directory);
    command.directory = made + "/packages";
    command.env = build_env(install.directory + "/cache");
    return command;
  }
  const auto stage = std::make_shared<Stage>();
  stage->add("uv", install.uv);
  stage->add("packages", install.directory);
  command.argv = arguments(install, Stage::path("uv"), Stage::path("packages"));
  command.directory = Stage::path("packages") + "/" + install.target + "/packages";
  command.env = build_env(Stage::path("packages") + "/cache");
  command.steps = kept_by(stage, stage->steps());
  command.steps.push_back({"give privileges up", become_builder});
  return command;
}

std::string credentials_path(const BuilderRun& run) {
  if (!run.credentials || !*run.credentials) return "";
  return "/proc/self/fd/" + std::to_string(run.credentials->get());
}

Result<Command> as_builder(const BuilderRun& run) {
  const auto stage = std::make_shared<Stage>();
  if (!run.written.empty()) {
    if (auto made = make_directory_for(run.written, true); !made.ok()) {
      return std::move(made).error();
    }
    stage->add("out", run.written);
  }
  if (!run.read.empty()) stage->add("in", run.read);
  Command command;
  command.argv = run.argv;
  command.env = run.env;
  command.env.push_back("PATH=/usr/bin:/bin");
  for (std::string& setting : index_settings()) command.env.push_back(std::move(setting));
  command.output = run.output;
  if (!credentials_path(run).empty()) command.inherited.push_back(run.credentials->get());
  command.steps = kept_by(stage, stage->steps());
  command.steps.push_back({"give privileges up", become_builder});
  return command;
}

std::string normal_package_name(std::string_view requirement) {
  std::string name;
  for (const char c : requirement) {
    const bool is_mark = c == '-' || c == '_' || c == '.';
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!is_mark && !is_letter && !(c >= '0' && c <= '9')) break;
    if (is_mark && !name.empty() && name.back() != '-') name += '-';
    if (!is_mark) name += static_cast<char>(is_letter ? c | 0x20 : c);
  }
  return name;
}

std::vector<std::string> index_settings() {
  std::map<std::string, std::string> settings;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    const bool passed = name.starts_with("UV_") || name.starts_with("SSL_CERT_") ||
                        name == "http_proxy" || name == "https_proxy" || name == "no_proxy" ||
                        name == "HTTP_PROXY" || name == "HTTPS_PROXY" || name == "NO_PROXY" ||
                        name == "ALL_PROXY" || name == "all_proxy";
    if (passed && name != "UV_CACHE_DIR") settings[name] = text.substr(text.find('=') + 1);
  }
  const std::map<std::string, std::string> files = pip_settings();
  const auto from_pip = [&](const char* uv_name, const char* pip_name, const char* key) {
    if (settings.contains(uv_name)) return;
    if (const auto value = variable(pip_name)) {
      settings[uv_name] = *value;
    } else if (const auto found = files.find(key); found != files.end() && !found->second.empty()) {
      settings[uv_name] = found->second;
    }
  };
  if (!uv_has_own_index()) {
    from_pip("UV_DEFAULT_INDEX", "PIP_INDEX_URL", "index-url");
    from_pip("UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL", "extra-index-url");
    if (!settings.contains("UV_FIND_LINKS")) {
      from_pip("UV_FIND_LINKS", "PIP_FIND_LINKS", "find-links");
      settings["UV_FIND_LINKS"] = existing_links(settings["UV_FIND_LINKS"]);
      if (settings["UV_FIND_LINKS"].empty()) settings.erase("UV_FIND_LINKS");
    }
  }
  from_pip("SSL_CERT_FILE", "PIP_CERT", "cert");
  std::vector<std::string> all;
  for (const auto& [name, value] : settings) all.push_back(name + "=" + value);
  return all;
}

namespace {

bool says(const std::deque<std::string>& lines, std::string_view words) {
  return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
    return line.find(words) != std::string::npos;
  });
}

}  // namespace

std::optional<int> disk_refusal(const std::deque<std::string>& lines) {
  for (const int number : {ENOSPC, EDQUOT, EROFS, EIO}) {
    if (says(lines, "(os error " + std::to_string(number) + ")")) return number;
    if (says(lines, std::strerror(number))) return number;
  }
  return std::nullopt;
}

std::string uv_hint(const std::deque<std::string>& lines) {
  if (says(lines, "no usable wheels") || says(lines, "no wheels") ||
      says(lines, "Building source distributions")) {
    return "Ember installs wheels only: choose a version that has a wheel for this Python.";
  }
  if (says(lines, "was not found in the package registry") ||
      says(lines, "not found in the provided package")) {
    return "Check the package's name; the index does not have it.";
  }
  if (says(lines, "error sending request") || says(lines, "Failed to fetch") ||
      says(lines, "dns error")) {
    return "The package index could not be reached from this node: check its network and proxy.";
  }
  if (says(lines, "unsatisfiable") || says(lines, "No solution found")) {
    return "The packages named do not go together: loosen a version.";
  }
  return "Run \"uv pip install\" with the same packages to see more.";
}

}  // namespace ember
