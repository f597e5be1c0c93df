#include "control/manifest.h"

#include <algorithm>
#include <set>

#include "control/digest.h"
#include "control/json.h"

namespace ember {
namespace {

constexpr std::size_t kMaxFiles = 5000;
constexpr std::int64_t kMaxBytes = 200'000'000;
constexpr std::size_t kMaxManifestBytes = 16u << 20;
constexpr std::size_t kMaxPath = 1024;
constexpr std::size_t kMaxPathPart = 255;
constexpr std::size_t kDigestDigits = 32;

bool is_safe_part(std::string_view part) {
  return !part.empty() && part.size() <= kMaxPathPart && part != "." && part != "..";
}

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPath) return false;
  for (const unsigned char c : path) {
    if (c < 0x20 || c == 0x7f || c == '\\') return false;
  }
  while (true) {
    const auto slash = path.find('/');
    if (!is_safe_part(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

Result<SourceFile> parse_file(const JsonValue& value, const std::string& where) {
  Fields fields(value, where + ".");
  SourceFile file;
  file.path = fields.text("path");
  file.sha256 = fields.text("sha256");
  file.size_bytes = fields.integer_or("size_bytes", -1);
  file.executable = fields.flag_or("executable", false);
  if (auto read = fields.finish(); !read) return std::move(read).error();
  if (!is_safe_path(file.path)) {
    return invalid(where + ".path must be relative, with '/', and stay inside the source");
  }
  if (!is_sha256_hex(file.sha256)) return invalid(where + ".sha256 must be 64 hex digits");
  if (file.size_bytes < 0 || file.size_bytes > kMaxBytes) {
    return invalid(where + ".size_bytes must be from 0 to " + std::to_string(kMaxBytes));
  }
  return file;
}

// The files are sorted. Nothing may stand twice, nor be both a file and a directory.
Result<> check_together(const Manifest& manifest) {
  std::set<std::string_view> paths;
  std::int64_t total = 0;
  for (const SourceFile& file : manifest.files) {
    total += file.size_bytes;
    if (!paths.insert(file.path).second) return invalid("the file " + file.path + " stands twice");
  }
  for (const SourceFile& file : manifest.files) {
    const std::string_view path = file.path;
    for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      if (!paths.contains(path.substr(0, slash))) continue;
      return invalid(std::string(path.substr(0, slash)) + " is both a file and a directory");
    }
  }
  if (total > kMaxBytes) {
    return invalid("the source has " + std::to_string(total) + " bytes; the most is " +
                   std::to_string(kMaxBytes) + ": leave data files out of it");
  }
  return Ok{};
}

}  // namespace

std::string Manifest::json() const {
  JsonValue list = JsonValue::array();
  for (const SourceFile& file : files) {
    list.push_back({{"path", file.path}, {"sha256", file.sha256}, {"size_bytes", file.size_bytes}});
    if (file.executable) list.back()["executable"] = true;
  }
  return dump_json({{"files", std::move(list)}});
}

std::string Manifest::digest() const {
  return "src-" + hex(sha256(json())).substr(0, kDigestDigits);
}

Result<Manifest> parse_manifest(std::string_view text) {
  auto document = parse_json(text, "the manifest", kMaxManifestBytes);
  if (!document) return std::move(document).error();
  Fields fields(*document, "");
  const JsonValue* files = fields.array("files");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  if (!files || files->empty() || files->size() > kMaxFiles) {
    return invalid("files must be a list of 1 to " + std::to_string(kMaxFiles) + " files");
  }
  Manifest manifest;
  for (std::size_t i = 0; i < files->size(); ++i) {
    auto file = parse_file((*files)[i], "files[" + std::to_string(i) + "]");
    if (!file) return std::move(file).error();
    manifest.files.push_back(std::move(file).value());
  }
  std::ranges::sort(manifest.files, {}, &SourceFile::path);
  if (auto fits = check_together(manifest); !fits) return std::move(fits).error();
  return manifest;
}

bool is_source_digest(std::string_view text) {
  return text.size() == 4 + kDigestDigits && text.starts_with("src-") &&
         text.find_first_not_of("0123456789abcdef", 4) == std::string_view::npos;
}

}  // namespace ember
