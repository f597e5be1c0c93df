#include "node/root_filesystem.h"

#include <filesystem>

#include "base/disk_error.h"
#include "node/container_files.h"
#include "node/digest.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDirectories[] = {"usr", "proc", "dev", "tmp",     "root",
                                        "run", "var",  "etc", "etc/ssl", "etc/alternatives"};
constexpr const char* kMountPoints[] = {"etc",          "source",       "ember",
                                        "ember/run",    "ember/python", "ember/layers",
                                        "ember/driver", "ember/files",  "ember/tools"};

constexpr const char* kPasswd =
    "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
constexpr const char* kGroup = "root:x:0:\nnogroup:x:65534:\n";
constexpr const char* kHosts = "127.0.0.1 localhost\n::1 localhost\n";
constexpr const char* kNameServices = "passwd: files\ngroup: files\nhosts: files dns\n";

struct Entry {
  enum class Kind { directory, file, link } kind;
  std::string path;  // below the root
  std::string text;  // of a file; where a link leads
};

std::vector<Entry> mount_points(const std::vector<PythonDirectory>& python,
                                const std::string& name_server) {
  using Kind = Entry::Kind;
  std::vector<Entry> all;
  for (const char* directory : kMountPoints) all.push_back({Kind::directory, directory, ""});
  for (const PythonDirectory& package : python) {
    all.push_back({Kind::directory, "ember/python/" + package.name, ""});
  }
  for (std::size_t i = 0; i < kMaxLayers; ++i) {
    all.push_back({Kind::directory, "ember/layers/" + std::to_string(i), ""});
  }
  all.push_back({Kind::file, "ember/init", ""});
  all.push_back({Kind::file, "etc/hosts", kHosts});
  if (!name_server.empty()) {
    all.push_back({Kind::file, "etc/resolv.conf", "nameserver " + name_server + "\n"});
  } else if (auto text = read_file("/etc/resolv.conf")) {
    all.push_back({Kind::file, "etc/resolv.conf", std::move(*text)});
  }
  return all;
}

std::vector<Entry> whole_root(const std::vector<PythonDirectory>& python,
                              const std::string& name_server) {
  using Kind = Entry::Kind;
  std::vector<Entry> all;
  for (const char* directory : kDirectories) all.push_back({Kind::directory, directory, ""});
  for (Entry& entry : mount_points(python, name_server)) all.push_back(std::move(entry));
  all.push_back({Kind::link, "var/tmp", "../tmp"});
  // Links like /lib -> usr/lib, as the machine itself has them.
  for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64"}) {
    std::error_code error;
    const fs::path target = fs::read_symlink(std::string("/") + name, error);
    if (!error) all.push_back({Kind::link, name, target.string()});
  }
  all.push_back({Kind::file, "etc/passwd", kPasswd});
  all.push_back({Kind::file, "etc/group", kGroup});
  all.push_back({Kind::file, "etc/nsswitch.conf", kNameServices});
  for (const char* name : {"etc/ld.so.cache", "etc/localtime", "etc/mime.types"}) {
    if (auto text = read_file(std::string("/") + name)) {
      all.push_back({Kind::file, name, std::move(*text)});
    }
  }
  return all;
}

std::string digest_of(const std::vector<Entry>& all) {
  std::string recipe;
  for (const Entry& entry : all) {
    recipe += entry.path + '\0' + std::to_string(entry.text.size()) + '\0' + entry.text;
  }
  return hex_sha256(recipe).substr(0, 32);
}

Result<> make(const std::string& root, const std::vector<Entry>& all) {
  std::error_code error;
  for (const Entry& entry : all) {
    const std::string path = root + "/" + entry.path;
    if (entry.kind == Entry::Kind::file) {
      if (auto written = write_file(path, entry.text, 0644); !written.ok()) return written;
    } else if (entry.kind == Entry::Kind::link) {
      fs::create_symlink(entry.text, path, error);
    } else {
      fs::create_directories(path, error);
      if (!error) fs::permissions(path, fs::perms(0755), error);
    }
    if (error) return disk_error(path, error.value());
  }
  return Ok{};
}

Result<std::string> make_tree(const std::string& node_directory, const std::vector<Entry>& all) {
  const std::string path = node_directory + "/rootfs/" + digest_of(all);
  std::error_code error;
  if (fs::is_directory(path, error)) return path;
  const std::string part = path + ".part";
  fs::remove_all(part, error);
  fs::create_directories(part, error);
  for (const std::string& one : {node_directory + "/rootfs", part}) {
    if (!error) fs::permissions(one, fs::perms(0755), error);
  }
  if (error) return disk_error(part, error.value());
  if (auto made = make(part, all); !made.ok()) return std::move(made).error();
  fs::rename(part, path, error);
  if (error) return disk_error(path, error.value());
  return path;
}

}  // namespace

Result<std::string> make_root_filesystem(const std::string& node_directory,
                                         const std::vector<PythonDirectory>& python,
                                         const std::string& name_server) {
  return make_tree(node_directory, whole_root(python, name_server));
}

Result<std::string> make_mount_points(const std::string& node_directory,
                                      const std::vector<PythonDirectory>& python,
                                      const std::string& name_server) {
  return make_tree(node_directory, mount_points(python, name_server));
}

std::vector<std::string> root_directories(const BuiltImage& image, const std::string& rootfs,
                                          const std::string& mount_points) {
  std::vector<std::string> all;
  if (image.on_host) all.push_back(rootfs);
  all.insert(all.end(), image.root.begin(), image.root.end());
  if (!image.on_host) all.push_back(mount_points);
  return all;
}

}  // namespace ember
