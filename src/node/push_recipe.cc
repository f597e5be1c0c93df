#include "node/push_recipe.h"

#include "node/stage.h"
#include "node/step_script.h"
#include "node/uv.h"

namespace ember {
namespace {

constexpr const char* kAssemble =
    "cd /ember/build\n"
    "umoci init --layout oci\n"
    "umoci new --image oci:image\n"
    "tar -C /ember/image --numeric-owner -cf layer.tar .\n"
    "umoci raw add-layer --image oci:image layer.tar\n"
    "rm layer.tar\n"
    "for number; do\n"
    "  tar -C /ember/parts/$number --numeric-owner --owner=0 --group=0"
    " --transform \"s,^\\.,ember/layers/$number,\" -cf layer.tar .\n"
    "  umoci raw add-layer --image oci:image layer.tar\n"
    "  rm layer.tar\n"
    "done\n"
    "umoci config --image oci:image $SETTINGS\n"
    "umoci gc --layout oci\n"
    "chmod -R a+rX oci";

// As words of umoci's command line. A value with a space in it cannot be one, and is left out.
std::string settings_of(const BuiltImage& image) {
  std::string settings = "--config.cmd=/bin/sh";
  Environment env = image.env;
  std::string packages;
  for (std::size_t i = image.packages.size(); i-- > 0;) {
    packages += (packages.empty() ? "" : ":") + std::string("/ember/layers/") + std::to_string(i);
  }
  if (!packages.empty()) env.emplace_back("PYTHONPATH", packages);
  for (const auto& [name, value] : env) {
    if (value.find_first_of(" \t\n*?[") == std::string::npos) {
      settings += " --config.env=" + name + "=" + value;
    }
  }
  const std::string& directory = image.working_directory;
  if (!directory.empty() && directory.find_first_of(" \t\n*?[") == std::string::npos) {
    settings += " --config.workingdir=" + directory;
  }
  return settings;
}

}  // namespace

Result<LayerRecipe> push_recipe(const LayerJob& job) {
  const BuiltImage& image = job.below.image;
  if (image.on_host) {
    return {ErrorCode::invalid_argument,
            "an image over the machine's own /usr is of no use elsewhere; push one that begins "
            "with debian_slim, from_registry or from_dockerfile"};
  }
  BuildRun run{
      .argv = {"/bin/sh", "-ec", kAssemble, "sh"},
      .env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "SETTINGS=" + settings_of(image)},
      .image = {},
      .upper = "",
      .mounts = {{job.part, "/ember/build", MountAccess::read_write}},
      .network = "",
      .output = -1};
  run.shown_root = image.root;
  for (std::size_t i = 0; i < image.packages.size(); ++i) {
    const std::string number = std::to_string(i);
    run.argv.push_back(number);
    run.mounts.push_back({image.packages[i], "/ember/parts/" + number, MountAccess::read_only});
  }
  LayerRecipe recipe;
  recipe.commands.push_back({.make = [sandbox = job.sandbox, run](int output) mutable {
    run.output = output;
    return sandbox->command(run);
  }});
  const std::string reference = job.step.arguments.front();
  recipe.commands.push_back(
      {.make = [part = job.part, reference, credentials = job.credentials](int output) {
        BuilderRun to_registry{.argv = {},
                               .env = {"HOME=/nonexistent"},
                               .read = part + "/oci",
                               .credentials = credentials,
                               .output = output};
        std::vector<std::string> argv{"/usr/bin/skopeo", "copy"};
        if (const std::string path = credentials_path(to_registry); !path.empty()) {
          argv.insert(argv.end(), {"--dest-authfile", path});
        }
        if (is_loopback(reference)) argv.emplace_back("--dest-tls-verify=false");
        argv.insert(argv.end(), {"oci:" + Stage::path("in") + ":image", "docker://" + reference});
        to_registry.argv = std::move(argv);
        return as_builder(to_registry);
      }});
  return recipe;
}

}  // namespace ember
