#include "model/image.h"

#include <algorithm>
#include <optional>
#include <span>

#include "model/environment.h"
#include "model/requirement.h"

namespace ember {
namespace {

constexpr std::size_t kMaxSteps = 32;
constexpr std::size_t kMaxArguments = 256;
constexpr std::size_t kMaxPackageBytes = 1024;
constexpr std::size_t kMaxArgumentBytes = 32u << 10;
constexpr std::size_t kMaxImageBytes = 256u << 10;
constexpr std::size_t kMaxPathBytes = 1024;
constexpr std::size_t kShownBytes = 64;

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

std::string quoted(std::string_view text) {
  return '"' + std::string(text.substr(0, kShownBytes)) + '"';
}

bool is_plain(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
}

bool is_one_of(char c, std::string_view marks) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         marks.find(c) != std::string_view::npos;
}

// A word of such characters that can be taken for no option.
bool is_word(std::string_view text, std::string_view marks) {
  return !text.empty() && text.size() <= kMaxPackageBytes && is_one_of(text[0], "") &&
         std::ranges::all_of(text, [&](char c) { return is_one_of(c, marks); });
}

bool is_absolute_path(std::string_view path) {
  if (!path.starts_with('/') || path.size() > kMaxPathBytes || !is_plain(path)) return false;
  for (std::size_t from = 1; from <= path.size();) {
    const auto end = std::min(path.find('/', from), path.size());
    const auto part = path.substr(from, end - from);
    if (part == "." || part == ".." || part.size() > 255) return false;
    from = end + 1;
  }
  return true;
}

// --- arguments: nothing, or what they must be instead -----------------------------------------

using Complaint = std::optional<std::string>;

// An option, a path or an address would let a deploy read files of the node, or have the node look
// into networks that the deploy cannot reach itself.
Complaint check_index_package(const std::string& text) {
  if (text.size() <= kMaxPackageBytes && is_requirement(text)) return std::nullopt;
  return "packages come from the index by name and version, such as \"numpy==2.1\" (no options, "
         "paths or addresses), not " +
         quoted(text);
}

Complaint check_pip_package(const std::string& text) {
  if (!text.empty() && text.size() <= kMaxPackageBytes && is_plain(text) && text[0] != '-') {
    return std::nullopt;
  }
  return "packages are named as for pip, without options, not " + quoted(text);
}

Complaint check_apt_package(const std::string& text) {
  if (is_word(text, "+-.:=~/")) return std::nullopt;
  return "packages are named as for apt-get, such as \"ffmpeg\", not " + quoted(text);
}

Complaint check_command(const std::string& text) {
  if (!text.empty() && text.size() <= kMaxArgumentBytes && text.find('\0') == std::string::npos) {
    return std::nullopt;
  }
  return "a command is a text of 1 to 32768 bytes without a zero byte";
}

Complaint check_variable(const std::string& text) {
  const auto split = text.find('=');
  if (split == std::string::npos) return "variables are texts NAME=value, not " + quoted(text);
  auto fine = check_env({{text.substr(0, split), text.substr(split + 1)}});
  return fine ? Complaint() : std::move(fine).error().message;
}

Complaint check_directory(const std::string& text) {
  if (is_absolute_path(text)) return std::nullopt;
  return "a path in the image is absolute and has no \"..\" in it, not " + quoted(text);
}

Complaint check_base_reference(const std::string& text) {
  const bool local = text.starts_with("oci:/") || text.starts_with("docker-archive:/");
  if (is_word(text, "./:@_-") && (!local || text.find("..") == std::string::npos))
    return std::nullopt;
  return "an image is named as in \"python:3.11-slim\", "
         "\"registry.example:5000/team/app@sha256:…\" "
         "or \"oci:/path/to/layout:tag\", not " +
         quoted(text);
}

Complaint check_python_version(const std::string& text) {
  const bool dotted =
      text.size() >= 3 && text.size() <= 4 && text.starts_with("3.") &&
      std::ranges::all_of(text.substr(2), [](char c) { return c >= '0' && c <= '9'; });
  if (dotted) return std::nullopt;
  return "a Python version is written as \"3.11\", not " + quoted(text);
}

// --- kinds ------------------------------------------------------------------------------------

enum class Files { none, required };

struct Kind {
  std::string_view name;
  std::size_t least = 0, most = kMaxArguments;  // arguments
  Complaint (*check)(const std::string&) = nullptr;
  Files files = Files::none;
  std::vector<std::string_view> options = {};
  bool needs_own_root = false;  // not over the machine's own /usr
};

const std::vector<Kind>& bases() {
  static const std::vector<Kind> kBases{
      {.name = "host", .most = 0},
      {.name = "debian_slim", .most = 1, .check = check_python_version},
      {.name = "registry",
       .least = 1,
       .most = 1,
       .check = check_base_reference,
       .options = {"add_python", kAuthOption}},
      {.name = "dockerfile",
       .check = check_command,
       .files = Files::required,
       .options = {"path", "target", "from", "add_python"}},
  };
  return kBases;
}

const std::vector<Kind>& steps() {
  static const std::vector<Kind> kSteps{
      {.name = "uv_pip_install", .least = 1, .check = check_index_package, .options = {"no_deps"}},
      {.name = "pip_install",
       .least = 1,
       .check = check_pip_package,
       .options = {"index_url", "extra_index_url", "pre"},
       .needs_own_root = true},
      {.name = "pip_install_from_requirements",
       .most = 0,
       .files = Files::required,
       .options = {"path", "index_url", "extra_index_url"},
       .needs_own_root = true},
      {.name = "uv_sync",
       .most = 0,
       .files = Files::required,
       .options = {"groups", "extras"},
       .needs_own_root = true},
      {.name = "apt_install", .least = 1, .check = check_apt_package, .needs_own_root = true},
      {.name = "run_commands", .least = 1, .check = check_command},
      {.name = "run_function",
       .most = 0,
       .files = Files::required,
       .options = {"module", "qualname"}},
      {.name = "env", .least = 1, .check = check_variable},
      {.name = "workdir", .least = 1, .most = 1, .check = check_directory},
      {.name = "entrypoint", .check = check_command},
      {.name = "add_local", .most = 0, .files = Files::required, .options = {"to"}},
  };
  return kSteps;
}

const Kind* find_kind(std::span<const Kind> kinds, std::string_view name) {
  const auto found = std::ranges::find(kinds, name, &Kind::name);
  return found == kinds.end() ? nullptr : &*found;
}

std::string names_of(std::span<const Kind> kinds) {
  std::string names;
  for (const Kind& kind : kinds) names += (names.empty() ? "" : ", ") + std::string(kind.name);
  return names;
}

bool is_source_name(std::string_view text) {
  return text.size() == 36 && text.starts_with("src-") &&
         text.find_first_not_of("0123456789abcdef", 4) == std::string_view::npos;
}

Result<> check_options(const ImageStep& step, const Kind& kind, const std::string& path) {
  for (const auto& [name, value] : step.options) {
    if (std::ranges::find(kind.options, name) == kind.options.end()) {
      return invalid(path + ".options: " + step.kind + " has no option " + quoted(name));
    }
    if (value.empty() || value.size() > kMaxArgumentBytes || !is_plain(value)) {
      return invalid(path + ".options." + name + " must be one line of text");
    }
  }
  if (const auto to = step.options.find("to"); to != step.options.end()) {
    if (const auto wrong = check_directory(to->second)) return invalid(path + ".to: " + *wrong);
  }
  if (const auto python = step.options.find("add_python"); python != step.options.end()) {
    if (const auto wrong = check_python_version(python->second)) {
      return invalid(path + ".add_python: " + *wrong);
    }
  }
  return Ok{};
}

Result<> check_step(const ImageStep& step, std::span<const Kind> kinds, const std::string& path) {
  const Kind* kind = find_kind(kinds, step.kind);
  if (kind == nullptr) {
    return invalid(path + ".kind " + quoted(step.kind) +
                   " is not known; these are: " + names_of(kinds));
  }
  if (step.arguments.size() < kind->least || step.arguments.size() > kind->most) {
    return invalid(path + ".arguments must be a list of " + std::to_string(kind->least) + " to " +
                   std::to_string(kind->most) + " texts");
  }
  for (const std::string& argument : step.arguments) {
    if (const auto wrong = kind->check(argument)) return invalid(path + ".arguments: " + *wrong);
  }
  if ((kind->files == Files::required) != !step.files.empty() ||
      (!step.files.empty() && !is_source_name(step.files))) {
    return invalid(path + ".files must " +
                   (kind->files == Files::required ? "be the digest of a source" : "be left out"));
  }
  return check_options(step, *kind, path);
}

std::size_t bytes_of(const ImageStep& step) {
  std::size_t bytes = 0;
  for (const std::string& argument : step.arguments) bytes += argument.size();
  for (const auto& [name, value] : step.options) bytes += name.size() + value.size();
  return bytes;
}

}  // namespace

bool is_setting(const ImageStep& step) { return step.kind == "env" || step.kind == "entrypoint"; }

bool is_package_layer(const ImageStep& step) { return step.kind == "uv_pip_install"; }

Result<> check_image(const ImageSpec& spec, std::string_view path) {
  const std::string name(path);
  if (auto fine = check_step(spec.base, bases(), name + ".base"); !fine) return fine;
  if (spec.steps.size() > kMaxSteps) {
    return invalid(name + ".steps has more than " + std::to_string(kMaxSteps) + " steps");
  }
  std::size_t total_bytes = bytes_of(spec.base);
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    const ImageStep& step = spec.steps[i];
    const std::string where = name + ".steps[" + std::to_string(i) + "]";
    if (auto fine = check_step(step, steps(), where); !fine) return fine;
    if (spec.on_host() && find_kind(steps(), step.kind)->needs_own_root) {
      return invalid(where + ": " + step.kind +
                     " cannot change the machine's own /usr; use Image.debian_slim(), or "
                     "uv_pip_install for packages of the index");
    }
    total_bytes += bytes_of(step);
  }
  if (total_bytes > kMaxImageBytes) {
    return invalid(name + " has steps of " + std::to_string(total_bytes) + " bytes; the most is " +
                   std::to_string(kMaxImageBytes));
  }
  return Ok{};
}

Result<> check_reference(const std::string& reference, std::string_view path) {
  if (is_word(reference, "./:@_-")) return Ok{};
  return invalid(std::string(path) +
                 " must be an image of a registry, such as \"registry.example:5000/team/app:1\", "
                 "not " +
                 quoted(reference));
}

}  // namespace ember
