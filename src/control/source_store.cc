#include "control/source_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/disk_error.h"
#include "control/digest.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

Result<> write_all(int descriptor, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return disk_error(path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return Ok{};
}

// One request to the disk for all the files that were written before.
Result<> make_durable(const std::string& directory) {
  const UniqueFd descriptor(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!descriptor || ::syncfs(descriptor.get()) != 0) return disk_error(directory, errno);
  return Ok{};
}

// Open to all: what runs in a container has another user id.
Result<> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) != 0) {
    return errno == EEXIST ? Result<>(Ok{}) : Result<>(disk_error(path, errno));
  }
  return ::chmod(path.c_str(), 0755) == 0 ? Result<>(Ok{}) : Result<>(disk_error(path, errno));
}

Result<> link_or_copy(const std::string& from, const std::string& to) {
  if (::link(from.c_str(), to.c_str()) == 0) return Ok{};
  std::error_code error;  // filesystems without hard links
  fs::copy_file(from, to, error);
  if (error) return disk_error(to, error.value());
  return Ok{};
}

// Of its own: the blob's mode is that of data.
Result<> copy_program(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::copy_file(from, to, error);
  if (!error) fs::permissions(to, fs::perms(0555), error);
  if (error) return disk_error(to, error.value());
  return Ok{};
}

}  // namespace

Result<> SourceStore::prepare() {
  std::error_code error;
  fs::remove_all(data_ + "/tmp", error);
  for (const char* name : {"/tmp", "/blobs", "/manifests", "/sources"}) {
    fs::create_directories(data_ + name, error);
    if (error) return disk_error(data_ + name, error.value());
  }
  return Ok{};
}

std::string SourceStore::blob_path(const std::string& sha256) const {
  return data_ + "/blobs/" + sha256.substr(0, 2) + "/" + sha256.substr(2);
}

std::string SourceStore::temporary_path() {
  return data_ + "/tmp/" + std::to_string(next_temporary_.fetch_add(1));
}

Result<> SourceStore::write_file(const std::string& path, const std::string& bytes) {
  const std::string temporary = temporary_path();
  const UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
  if (!file) return disk_error(temporary, errno);
  ::fchmod(file.get(), 0444);  // whatever the umask: containers must read it
  auto written = write_all(file.get(), bytes, path);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = disk_error(path, errno);
  if (!written) ::unlink(temporary.c_str());
  return written;
}

Result<UploadResult> SourceStore::register_manifest(const std::string& manifest_json) {
  auto manifest = parse_manifest(manifest_json);
  if (!manifest) return std::move(manifest).error();
  UploadResult result{manifest->digest(), {}};
  auto written = write_file(data_ + "/manifests/" + result.digest + ".json", manifest->json());
  if (!written) return std::move(written).error();
  std::set<std::string> missing;
  for (const SourceFile& file : manifest->files) {
    if (::access(blob_path(file.sha256).c_str(), F_OK) != 0) missing.insert(file.sha256);
  }
  result.missing.assign(missing.begin(), missing.end());
  return result;
}

Result<> SourceStore::put_blob(const std::string& sha256, const std::string& bytes) {
  if (!is_sha256_hex(sha256)) {
    return {ErrorCode::invalid_argument, "a blob's name is 64 lower-case hex digits"};
  }
  if (hex(ember::sha256(bytes)) != sha256) {
    return {ErrorCode::invalid_argument,
            "the bytes do not have the SHA-256 " + sha256 + "; the file has changed: upload again"};
  }
  const std::string path = blob_path(sha256);
  std::error_code error;
  if (fs::exists(path, error)) return Ok{};
  fs::create_directories(fs::path(path).parent_path(), error);
  if (error) return disk_error(path, error.value());
  return write_file(path, bytes);
}

Result<> SourceStore::check_complete(const Manifest& manifest, const std::string& digest) const {
  std::size_t missing = 0;
  std::string first;
  for (const SourceFile& file : manifest.files) {
    struct stat status {};
    const bool there = ::stat(blob_path(file.sha256).c_str(), &status) == 0;
    if (there && status.st_size == file.size_bytes) continue;
    if (there) {
      return {ErrorCode::conflict, file.path + " has " + std::to_string(status.st_size) +
                                       " bytes, the manifest says " +
                                       std::to_string(file.size_bytes)};
    }
    if (++missing == 1) first = file.path;
  }
  if (missing == 0) return Ok{};
  return {ErrorCode::conflict, std::to_string(missing) + " files of the source " + digest +
                                   " are not uploaded, " + first +
                                   " first; upload them and deploy again"};
}

Result<> SourceStore::materialise(const std::string& digest) {
  if (!is_source_digest(digest)) {
    return {ErrorCode::invalid_argument, "source is not the digest of a manifest"};
  }
  const std::string final_path = data_ + "/sources/" + digest;
  if (::access(final_path.c_str(), F_OK) == 0) return Ok{};
  std::ifstream file(data_ + "/manifests/" + digest + ".json");
  if (!file) {
    return {ErrorCode::conflict,
            "the source " + digest + " is not known here; upload its manifest first"};
  }
  std::stringstream text;
  text << file.rdbuf();
  auto manifest = parse_manifest(text.str());
  if (!manifest) return std::move(manifest).error();
  if (auto complete = check_complete(*manifest, digest); !complete) return complete;
  const std::string temporary = temporary_path();
  auto published = publish(*manifest, temporary, final_path);
  if (published) return published;
  std::error_code ignored;
  fs::remove_all(temporary, ignored);
  // Another deploy of the same source may have been faster.
  return ::access(final_path.c_str(), F_OK) == 0 ? Result<>(Ok{}) : published;
}

Result<> SourceStore::publish(const Manifest& manifest, const std::string& temporary,
                              const std::string& final_path) {
  if (auto done = lay_out(manifest, temporary); !done) return done;
  if (auto durable = make_durable(data_); !durable) return durable;
  if (::rename(temporary.c_str(), final_path.c_str()) != 0) return disk_error(final_path, errno);
  return Ok{};
}

Result<> SourceStore::lay_out(const Manifest& manifest, const std::string& directory) {
  if (auto made = make_directory(directory); !made) return made;
  for (const SourceFile& file : manifest.files) {
    for (auto slash = file.path.find('/'); slash != std::string::npos;
         slash = file.path.find('/', slash + 1)) {
      auto made = make_directory(directory + "/" + file.path.substr(0, slash));
      if (!made) return made;
    }
    const std::string place = directory + "/" + file.path;
    auto laid = file.executable ? copy_program(blob_path(file.sha256), place)
                                : link_or_copy(blob_path(file.sha256), place);
    if (!laid) return laid;
  }
  return Ok{};
}

Result<UniqueFd> SourceStore::open(const std::string& digest) const {
  const std::string path = data_ + "/sources/" + digest;
  UniqueFd directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (directory) return directory;
  if (errno != ENOENT) return disk_error(path, errno);
  return {ErrorCode::not_found,
          "its source " + path + " is gone; deploy it again with `ember deploy`"};
}

Result<UniqueFd> SourceStore::open_all() const {
  const std::string path = data_ + "/sources";
  UniqueFd directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return disk_error(path, errno);
  return directory;
}

}  // namespace ember
