#include "node/layer_recipe.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/disk_error.h"
#include "node/base_recipe.h"
#include "node/push_recipe.h"
#include "node/step_script.h"
#include "node/uv.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

Result<> make_upper(const std::string& part) {
  for (const char* name : {"/files", "/work"}) {
    if (::mkdir((part + name).c_str(), 0755) != 0) return disk_error(part + name, errno);
  }
  return Ok{};
}

// A step that runs in the image so far, and writes its layer there.
Result<LayerRecipe> script_recipe(const LayerJob& job, const LayerTools& tools) {
  if (auto made = make_upper(job.part); !made.ok()) return std::move(made).error();
  LayerRecipe recipe;
  *recipe.facts = job.below.facts;
  const StepScript script = script_of(job.step, job.below.facts);
  const std::string cache = job.part + "/cache";
  if (script.needs_uv && tools.uv.empty()) {
    return {ErrorCode::unavailable, "uv is not installed on this node: run \"make setup\""};
  }
  if (script.needs_uv && ::mkdir(cache.c_str(), 0755) != 0) return disk_error(cache, errno);
  BuildRun run{.argv = script.argv,
               .env = step_env(job.below.image, script),
               .working_directory = job.below.image.working_directory.empty()
                                        ? "/"
                                        : job.below.image.working_directory,
               .image = job.below.image,
               .upper = job.part,
               .files = job.files,
               .network = needs_network(job.step) ? job.network : "",
               .output = -1};
  if (script.needs_uv) {
    run.mounts.push_back({tools.uv, "/ember/tools/uv", MountAccess::read_only});
    run.mounts.push_back({cache, "/ember/cache", MountAccess::read_write});
  }
  if (const std::string bundle = certificates(); !bundle.empty()) {
    run.mounts.push_back({bundle, kCertificatesInBuild, MountAccess::read_only});
  }
  if (script.needs_sdk) {
    for (const PythonDirectory& package : tools.sandboxes->python()) {
      run.mounts.push_back(
          {package.host_path, "/ember/python/" + package.name, MountAccess::read_only});
    }
  }
  recipe.commands.push_back({.make = [sandbox = job.sandbox, run](int output) mutable {
    run.output = output;
    return sandbox->command(run);
  }});
  if (script.may_change_python) {
    add_python_probe(recipe, job, {.image = job.below.image, .upper = job.part});
  }
  return recipe;
}

// "numpy-2.1.0.dist-info" as "numpy==2.1.0", unless the step names the package itself.
std::vector<std::string> installed_below(const LayerJob& job) {
  std::vector<std::string> all;
  for (const std::string& packages : job.below.image.packages) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(packages, ignored)) {
      const fs::path name = entry.path().filename();
      if (name.extension() != ".dist-info") continue;
      const std::string stem = name.stem().string();
      const auto split = stem.find('-');
      if (split == std::string::npos) continue;
      const std::string package = stem.substr(0, split);
      const bool is_named = std::ranges::any_of(job.step.arguments, [&](const auto& argument) {
        return normal_package_name(argument) == normal_package_name(package);
      });
      if (!is_named) all.push_back(package + "==" + stem.substr(split + 1));
    }
  }
  std::ranges::sort(all);
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

// Into the part, from beside uv's cache.
Result<> take_packages(const UvInstall& install, const std::string& part, bool ended_well) {
  std::error_code error, ignored;
  if (ended_well) fs::rename(uv_target(install), part + "/packages", error);
  fs::remove_all(fs::path(uv_target(install)).parent_path(), ignored);
  if (error) return disk_error(part, error.value());
  return Ok{};
}

enum class Last { no, yes };

void add_install(LayerRecipe& recipe, const LayerJob& job, const UvInstall& install,
                 std::shared_ptr<bool> installed, Last last) {
  recipe.commands.push_back({.make =
                                 [install](int output) {
                                   UvInstall run = install;
                                   run.output = output;
                                   return uv_install(run);
                                 },
                             .output = RecipeCommand::Output::shown,
                             .needed = [installed] { return !*installed; },
                             .after = [install, part = job.part, installed, last](
                                          ProcessEnd end, const std::string&) -> Result<> {
                               *installed = end.exit_status == 0;
                               if (auto taken = take_packages(install, part, *installed);
                                   !taken.ok())
                                 return taken;
                               if (*installed || last == Last::no) return Ok{};
                               return {ErrorCode::invalid_argument, ""};
                             }});
}

Result<LayerRecipe> package_recipe(const LayerJob& job, const LayerTools& tools) {
  if (job.below.facts.python.empty()) {
    return {ErrorCode::invalid_argument,
            "the image has no Python so far; add it with add_python= or .apt_install(\"python3\")"};
  }
  LayerRecipe recipe;
  *recipe.facts = job.below.facts;
  const std::string layer = fs::path(job.part).filename().string();
  UvInstall install{.uv = tools.uv,
                    .packages = job.step.arguments,
                    .constraints = installed_below(job),
                    .directory = uv_directory(tools.node_directory),
                    .target = layer,
                    .no_deps = job.step.options.contains("no_deps"),
                    .python_version = job.below.image.on_host ? "" : job.below.facts.python_version,
                    .libc = job.below.image.on_host ? "" : job.below.facts.libc,
                    .output = -1};
  // What stands in layers below stays as it is where that can be; else, as with pip, the newer step
  // has what it needs.
  const auto installed = std::make_shared<bool>(false);
  if (!install.constraints.empty()) add_install(recipe, job, install, installed, Last::no);
  install.constraints.clear();
  add_install(recipe, job, install, installed, Last::yes);
  return recipe;
}

}  // namespace

bool needs_sandbox(const ImageStep& step) { return !is_package_layer(step); }

bool needs_network(const ImageStep& step) {
  static const std::vector<std::string_view> kLocal{"workdir", "add_local", "registry",
                                                    "debian_slim", kPush};
  return needs_sandbox(step) && std::ranges::find(kLocal, step.kind) == kLocal.end();
}

bool is_loopback(const std::string& reference) {
  return reference.starts_with("localhost") || reference.starts_with("127.") ||
         reference.starts_with("[::1]");
}

Result<LayerRecipe> recipe_of(const LayerJob& job, const LayerTools& tools) {
  if (is_package_layer(job.step)) return package_recipe(job, tools);
  if (job.step.kind == kPush) return push_recipe(job);
  if (job.step.kind == "debian_slim") return debian_recipe(job, tools);
  if (job.step.kind == "registry") return registry_recipe(job, tools);
  if (job.step.kind == "dockerfile") return dockerfile_recipe(job, tools);
  return script_recipe(job, tools);
}

std::string build_hint(const ImageStep& step, const std::deque<std::string>& lines) {
  if (is_package_layer(step)) return uv_hint(lines);
  return step_hint(step, lines);
}

}  // namespace ember
