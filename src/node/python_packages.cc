#include "node/python_packages.h"

#include <sys/wait.h>

#include <algorithm>
#include <filesystem>

#include "base/disk_error.h"
#include "node/container_files.h"
#include "node/digest.h"
#include "node/process_table.h"
#include "node/runner_env.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

// The package's own files, relative, by name; what Python itself makes of them is left out.
Result<std::vector<std::string>> files_of(const std::string& package) {
  std::vector<std::string> files;
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(package, error);
       !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (it->path().filename() == "__pycache__") {
      it.disable_recursion_pending();
    } else if (it->is_regular_file(error)) {
      files.push_back(fs::relative(it->path(), package, error).string());
    }
  }
  if (error) return disk_error(package, error.value());
  std::sort(files.begin(), files.end());
  return files;
}

std::string digest_of(const std::string& package, const std::vector<std::string>& files) {
  std::string recipe;
  for (const std::string& file : files) {
    recipe += file + '\0' + hex_sha256(read_file(package + "/" + file).value_or(""));
  }
  return hex_sha256(recipe).substr(0, 32);
}

Result<> copy(const std::string& from, const std::vector<std::string>& files,
              const std::string& to) {
  for (const std::string& file : files) {
    std::error_code error;
    const fs::path target = fs::path(to) / file;
    fs::create_directories(target.parent_path(), error);
    if (!error) fs::copy_file(fs::path(from) / file, target, error);
    if (!error) fs::permissions(target, fs::perms(0644), error);
    if (error) return disk_error(target.string(), error.value());
  }
  return Ok{};
}

// Bytecode that is taken without a look at its source, which never changes. A file that does not
// compile is left as it is: whoever imports it will be told.
void compile(const std::string& package) {
  Command command;
  command.argv = {kPython,          "-m",   "compileall", "-q", "--invalidation-mode",
                  "unchecked-hash", package};
  command.env = {"LANG=C.UTF-8"};
  if (const auto pid = spawn(command); pid.ok()) ::waitpid(*pid, nullptr, 0);
}

Result<PythonDirectory> prepare(const std::string& node_directory, const PythonDirectory& package) {
  auto files = files_of(package.host_path);
  if (!files.ok()) return std::move(files).error();
  const std::string home = node_directory + "/packages/" + digest_of(package.host_path, *files);
  const std::string place = home + "/" + package.name;
  std::error_code error;
  if (fs::is_directory(place, error)) return PythonDirectory{place, package.name};
  const std::string part = home + "/." + package.name + ".part";
  fs::remove_all(part, error);
  fs::create_directories(part, error);
  if (auto copied = copy(package.host_path, *files, part); !copied.ok()) {
    return std::move(copied).error();
  }
  compile(part);
  fs::rename(part, place, error);
  if (error) return disk_error(place, error.value());
  return PythonDirectory{place, package.name};
}

}  // namespace

Result<std::vector<PythonDirectory>> prepare_packages(
    const std::string& node_directory, const std::vector<PythonDirectory>& packages) {
  std::vector<PythonDirectory> prepared;
  for (const PythonDirectory& package : packages) {
    auto one = prepare(node_directory, package);
    if (!one.ok()) return std::move(one).error();
    prepared.push_back(std::move(*one));
  }
  return prepared;
}

}  // namespace ember
