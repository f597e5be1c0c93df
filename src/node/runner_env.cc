#include "node/runner_env.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "node/json_bounds.h"
#include "node/json_fields.h"

namespace ember {
namespace {

std::string python_path(const RunnerPlaces& places, const std::string& users) {
  std::string path = places.python;
  for (auto layer = places.layers.rbegin(); layer != places.layers.rend(); ++layer) {
    path += ":" + *layer;
  }
  if (!users.empty()) path += ":" + users;
  return path;
}

// Programs that packages bring come before the image's own.
std::string program_path(const RunnerPlaces& places, const std::string& rest) {
  std::string path;
  for (auto layer = places.layers.rbegin(); layer != places.layers.rend(); ++layer) {
    path += *layer + "/bin:";
  }
  return path + rest;
}

// Numeric libraries that see all cores of the machine start that many threads; the container has
// only its share of them.
void set_thread_counts(std::map<std::string, std::string>& env, std::int64_t cpu_millicores) {
  const std::string threads =
      std::to_string(std::max<std::int64_t>(1, (cpu_millicores + 999) / 1000));
  for (const char* name : {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                           "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS"}) {
    env[name] = threads;
  }
}

// Libraries fall back to UTC by themselves where there is no /etc/localtime; with TZ they need not
// look for it, nor warn that it is not there.
void set_time_zone(std::map<std::string, std::string>& env, const BuiltImage& image) {
  std::vector<std::string> roots = image.root;
  if (image.on_host) roots.push_back("/");
  std::error_code ignored;
  for (const std::string& root : roots) {
    const auto zone = std::filesystem::symlink_status(root + "/etc/localtime", ignored);
    if (std::filesystem::exists(zone)) return;
  }
  env["TZ"] = "UTC";
}

// Whose container it is, as the driver's labels say.
void set_identity(std::map<std::string, std::string>& env, const ContainerMeta& record) {
  using Json = nlohmann::json;
  env["EMBER_CONTAINER_ID"] = record.container.text();
  if (JsonBounds<Json>::check(record.labels_json) != JsonShape::fine) return;
  const Json labels = Json::parse(record.labels_json, nullptr, /*allow_exceptions=*/false);
  JsonFields fields(labels);
  env["EMBER_APP"] = fields.text_or("app", "");
  env["EMBER_FUNCTION"] = fields.text_or("function", "");
  env["EMBER_VERSION"] = std::to_string(fields.integer_or("version", 0));
}

// CUDA and NVIDIA's tools go by these. A container sees what it was granted and, where nothing
// keeps the rest from it (process isolation), is at least told to leave it alone.
void set_visible_gpus(std::map<std::string, std::string>& env, const GpuGrant& gpus) {
  env["CUDA_VISIBLE_DEVICES"] = gpus.uuids;
  env["NVIDIA_VISIBLE_DEVICES"] = gpus.uuids.empty() ? "void" : gpus.uuids;
  if (gpus.libraries.empty()) return;
  std::string& path = env["LD_LIBRARY_PATH"];
  path = kDriverDirectory + (path.empty() ? "" : ":" + path);
}

}  // namespace

// Not by -m: what Python imports to find a module that way takes longer than the runner itself.
std::vector<std::string> runner_argv(const BuiltImage& image) {
  return {image.python, "-c", "from ember.runner.__main__ import main; main()"};
}

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
  set_time_zone(env, plan.image);
  set_thread_counts(env, plan.record.resources.cpu_millicores);
  for (const auto& [name, value] : plan.image.env) env[name] = value;
  for (const auto& [name, value] : plan.env) env[name] = value;
  set_visible_gpus(env, plan.gpus);
  env["PATH"] = program_path(places, env["PATH"]);
  if (const std::int64_t share_bytes = plan.record.resources.gpu.share_bytes; share_bytes > 0) {
    env["EMBER_GPU_VRAM_BYTES"] = std::to_string(share_bytes);
  }
  env["PYTHONPATH"] = python_path(places, env["PYTHONPATH"]);
  env["EMBER_RUN_DIR"] = places.run;
  env["EMBER_SOURCE"] = places.source;
  set_identity(env, plan.record);
  std::vector<std::string> entries{std::move(mark)};
  for (const auto& [name, value] : env) entries.push_back(name + "=" + value);
  return entries;
}

}  // namespace ember
