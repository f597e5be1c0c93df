#include "node/node_directory.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/disk_error.h"
#include "node/container_files.h"
#include "node/python_packages.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kRoomOfAContainer = 64 << 10;

Error failed(const std::string& path, const std::error_code& why) {
  return disk_error(path, why.value());
}

void remove_all_within(const std::string& path) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path, ignored)) {
    fs::remove_all(entry.path(), ignored);
  }
}

Result<NodeId> read_or_make_id(const std::string& path) {
  if (const auto text = read_file(path)) {
    const auto id = NodeId::parse(text->substr(0, text->find('\n')));
    if (id) return *id;
    return {ErrorCode::conflict, path + " does not hold a node's id; remove it to get a new one"};
  }
  NodeId id;
  while (!id) {
    if (::getrandom(&id.value, sizeof(id.value), 0) != sizeof(id.value)) id = {};
  }
  if (auto written = write_file(path, id.text() + "\n", 0644, Durable::yes); !written.ok()) {
    return std::move(written).error();
  }
  return id;
}

Result<> link_python(const std::string& directory, const std::vector<PythonDirectory>& packages) {
  std::error_code error;
  fs::remove_all(directory, error);
  fs::create_directory(directory, error);
  if (error) return failed(directory, error);
  for (const PythonDirectory& package : packages) {
    fs::create_symlink(package.host_path, directory + "/" + package.name, error);
    if (error) return failed(directory + "/" + package.name, error);
  }
  return Ok{};
}

}  // namespace

Result<NodeDirectory> open_node_directory(const NodeOptions& options) {
  std::error_code error;
  NodeDirectory directory;
  directory.path = fs::absolute(options.data, error).lexically_normal().string() + "/node";
  for (const char* part : {"", "/containers", "/layers", "/packages"}) {
    fs::create_directories(directory.path + part, error);
    if (error) return failed(directory.path + part, error);
    // Passed through by the driver and by containers' users, listed by nobody else.
    if (::chmod((directory.path + part).c_str(), 0711) != 0) {
      return failed(directory.path + part, {errno, std::generic_category()});
    }
  }
  auto node = read_or_make_id(directory.path + "/node_id");
  if (!node.ok()) return std::move(node).error();
  directory.node = *node;
  // What earlier versions left goes once nothing stands on it.
  if (containers_on_disk(directory.path).empty()) {
    for (const char* part : {"/packages", "/rootfs"}) remove_all_within(directory.path + part);
  }
  auto python = prepare_packages(directory.path, options.python);
  if (!python.ok()) return std::move(python).error();
  directory.python = std::move(*python);
  if (auto linked = link_python(directory.python_path(), directory.python); !linked.ok()) {
    return std::move(linked).error();
  }
  return directory;
}

std::optional<Time> NodeDirectory::last_seen() const {
  struct stat status;
  if (::stat((path + "/last_seen").c_str(), &status) != 0) return std::nullopt;
  return Time{status.st_mtim.tv_sec * 1'000'000 + status.st_mtim.tv_nsec / 1000};
}

void NodeDirectory::touch_last_seen() const {
  const UniqueFd file(::open((path + "/last_seen").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (file) ::futimens(file.get(), nullptr);
}

bool NodeDirectory::has_room() const {
  const std::string place = path + "/room";
  const bool written = write_file(place, std::string(kRoomOfAContainer, ' '), 0600).ok();
  ::unlink(place.c_str());
  return written;
}

}  // namespace ember
