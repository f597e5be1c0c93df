#include "node/runner_env.h"

#include <algorithm>
#include <map>

namespace ember {
namespace {

constexpr std::size_t kMaxEnv = 1000;
constexpr std::size_t kMaxEnvName = 256;
constexpr std::size_t kMaxEnvValue = 128 << 10;  // the kernel's MAX_ARG_STRLEN, near enough

bool is_env_name(const std::string& name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !name.empty() && name.size() <= kMaxEnvName && !(name[0] >= '0' && name[0] <= '9') &&
         std::all_of(name.begin(), name.end(), plain);
}

std::string python_path(const RunnerPlaces& places, const std::string& users) {
  std::string path = places.python;
  for (auto layer = places.layers.rbegin(); layer != places.layers.rend(); ++layer) {
    path += ":" + *layer;
  }
  if (!users.empty()) path += ":" + users;
  return path;
}

// Numeric libraries that see all cores of the machine start that many threads; the container has
// only its share of them.
void set_thread_counts(std::map<std::string, std::string>& env, std::int64_t cpu_millicores) {
  const std::string threads =
      std::to_string(std::max<std::int64_t>(1, (cpu_millicores + 999) / 1000));
  for (const char* name :
       {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"}) {
    env[name] = threads;
  }
}

}  // namespace

std::vector<std::string> runner_argv() { return {kPython, "-m", "ember.runner"}; }

std::string container_mark(NodeId node, ContainerId container) {
  return "EMBER_CONTAINER=" + node.text() + "/" + container.text();
}

std::vector<std::string> runner_env(const LaunchPlan& plan, const RunnerPlaces& places,
                                    std::string mark) {
  std::map<std::string, std::string> env{
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
      {"LANG", "C.UTF-8"},
      {"HOME", places.home},
      {"TMPDIR", places.temporary},
      {"PYTHONUNBUFFERED", "1"},
      {"PYTHONDONTWRITEBYTECODE", "1"}};
  set_thread_counts(env, plan.record.resources.cpu_millicores);
  for (const auto& [name, value] : plan.env) env[name] = value;
  env["PYTHONPATH"] = python_path(places, env["PYTHONPATH"]);
  env["EMBER_RUN_DIR"] = places.run;
  env["EMBER_SOURCE"] = places.source;
  env["EMBER_CONTAINER_ID"] = plan.record.container.text();
  std::vector<std::string> entries;
  for (const auto& [name, value] : env) entries.push_back(name + "=" + value);
  entries.push_back(std::move(mark));
  return entries;
}

Result<> check_env(const std::vector<std::pair<std::string, std::string>>& env) {
  if (env.size() > kMaxEnv) return {ErrorCode::invalid_argument, "env: more than 1000 entries"};
  for (const auto& [name, value] : env) {
    if (!is_env_name(name)) {
      return {ErrorCode::invalid_argument,
              "env: a name is letters, digits and _, and begins with no digit: " + name};
    }
    if (name.starts_with("EMBER_")) {
      return {ErrorCode::invalid_argument, "env: names that begin with EMBER_ are ours: " + name};
    }
    if (value.size() > kMaxEnvValue || value.find('\0') != std::string::npos) {
      return {ErrorCode::invalid_argument,
              "env: a value is at most 128 KiB, without zero bytes: " + name};
    }
  }
  return Ok{};
}

}  // namespace ember
