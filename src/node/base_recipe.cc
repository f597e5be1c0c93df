#include "node/base_recipe.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <sstream>

#include "base/disk_error.h"
#include "node/apt_sources.h"
#include "node/oci_config.h"
#include "node/stage.h"
#include "node/step_script.h"
#include "node/uv.h"

namespace ember {
namespace {

constexpr const char* kBuild = "/ember/build";  // the part, in a sandbox

// Prints where Python is, its version, and its C library.
constexpr const char* kProbe =
    "import platform, sys\n"
    "libc = ' '.join(platform.libc_ver()).strip() or 'musl'\n"
    "print(sys.executable, '%d.%d' % sys.version_info[:2], libc, sep='\\n')";

// Documents and translations are left out of a slim Debian, as is what says that pip must not touch
// the system's Python: it is the image's only one.
constexpr const char* kSlim[] = {"path-exclude=/usr/share/doc/*", "path-exclude=/usr/share/man/*",
                                 "path-exclude=/usr/share/locale/*",
                                 "path-exclude=/usr/share/info/*"};

constexpr const char* kUnpack = "umoci raw unpack --image \"$1\" /ember/build/files";

// Beside the image's own Python, if it has one, and before it on the path.
constexpr const char* kAddPython =
    "cd /ember/build/files\n"
    "mkdir -p opt/python usr/local/bin\n"
    "/ember/tools/uv python install --no-bin --install-dir opt/python \"$1\"\n"
    "home=$(cd opt/python && ls -d cpython-\"$1\"*-linux-*)\n"
    "rm -f opt/python/\"$home\"/lib/python3*/EXTERNALLY-MANAGED\n"
    "for name in python3 python pip3 pip; do\n"
    "  ln -sf /opt/python/\"$home\"/bin/$name usr/local/bin/$name\n"
    "done";

// The stages' bases are there already; nothing is pulled. What a stage runs, runs within this
// sandbox, in a root of its own.
constexpr const char* kBuildah =
    "cd /ember/build/buildah\n"
    "export TMPDIR=$PWD/tmp HOME=$PWD/home\n"
    "mkdir -p tmp home\n"
    "cp -R /ember/files context\n"
    "chmod -R u+w context\n"
    "number=0\n"
    "for base in $EMBER_BASES; do\n"
    "  buildah $STORAGE pull --signature-policy policy.json --quiet "
    "oci:/ember/build/base-$number:image"
    " > id\n"
    "  buildah $STORAGE tag \"$(cat id)\" \"$base\"\n"
    "  number=$((number + 1))\n"
    "done\n"
    "buildah $STORAGE bud --signature-policy policy.json --isolation chroot --pull-never $CA"
    " --format docker --tag ember-build \"$@\" context\n"
    "buildah $STORAGE push --signature-policy policy.json --quiet ember-build"
    " oci:/ember/build/oci:image";
constexpr const char* kAcceptAll = R"({"default": [{"type": "insecureAcceptAnything"}]})";

BuiltImage machine_root() { return {}; }

std::string option(const ImageStep& step, const std::string& name) {
  const auto found = step.options.find(name);
  return found == step.options.end() ? "" : found->second;
}

// What the probe prints: before it the loader may have had something to say of the image's
// environment.
std::array<std::string, 3> last_lines(const std::string& text) {
  std::array<std::string, 3> last;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::rotate(last.begin(), last.begin() + 1, last.end());
    last.back() = std::move(line);
  }
  return last;
}

Result<> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) != 0) return disk_error(path, errno);
  return Ok{};
}

// Copies an image into <part>/<name> as an OCI layout with the one tag "image". It runs as the user
// that fetches packages, on the machine's network: registries are often on one's own.
Result<Command> fetch(const LayerJob& job, const std::string& reference, const std::string& name,
                      int output) {
  const bool is_local = reference.starts_with("oci:") || reference.starts_with("docker-archive:");
  std::vector<std::string> argv{"/usr/bin/skopeo", "--override-os", "linux", "copy"};
  if (!is_local && is_loopback(reference)) argv.push_back("--src-tls-verify=false");
  argv.push_back(is_local ? reference : "docker://" + reference);
  argv.push_back("oci:" + Stage::path("out") + ":image");
  return as_builder({.argv = std::move(argv),
                     .env = {"HOME=" + Stage::path("out"), "TMPDIR=" + Stage::path("out")},
                     .written = job.part + "/" + name,
                     .output = output});
}

void add_fetch(LayerRecipe& recipe, const LayerJob& job, std::string reference, std::string name) {
  recipe.commands.push_back(
      {.make = [job, reference = std::move(reference), name = std::move(name)](int output) {
        return fetch(job, reference, name, output);
      }});
}

// A command in a sandbox that stands on the machine's own /usr, and sees the part.
RecipeCommand on_part(const LayerJob& job, BuildRun run) {
  run.image = machine_root();
  run.mounts.push_back({job.part, kBuild, MountAccess::read_write});
  return {.make = [sandbox = job.sandbox, run = std::move(run)](int output) mutable {
    run.output = output;
    return sandbox->command(run);
  }};
}

std::vector<std::string> shell(const char* script, std::vector<std::string> arguments) {
  std::vector<std::string> argv{"/bin/sh", "-ec", script, "sh"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

std::vector<std::string> plain_env() {
  return {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"};
}

// <part>/oci as <part>/files, and what its configuration says.
void add_unpacking(LayerRecipe& recipe, const LayerJob& job) {
  recipe.commands.push_back(
      {.make =
           [part = job.part](int output) {
             return as_builder({.argv = {"/usr/bin/skopeo", "inspect", "--config",
                                         "oci:" + Stage::path("in") + ":image"},
                                .env = {},
                                .read = part + "/oci",
                                .output = output});
           },
       .output = RecipeCommand::Output::kept,
       .after = [facts = recipe.facts](ProcessEnd end, const std::string& kept) -> Result<> {
         if (end.exit_status != 0) return {ErrorCode::invalid_argument, kept};
         auto config = read_oci_config(kept, machine_architecture());
         if (!config.ok()) return std::move(config).error();
         facts->env = std::move(config->env);
         facts->working_directory = std::move(config->working_directory);
         return Ok{};
       }});
  recipe.commands.push_back(
      on_part(job, {.argv = shell(kUnpack, {std::string(kBuild) + "/oci:image"}),
                    .env = plain_env(),
                    .image = {},
                    .upper = "",
                    .network = "",
                    .output = -1}));
}

Result<> add_python(LayerRecipe& recipe, const LayerJob& job, const LayerTools& tools,
                    const std::string& version) {
  if (version.empty()) return Ok{};
  if (tools.uv.empty()) {
    return {ErrorCode::unavailable, "uv is not installed on this node: run \"make setup\""};
  }
  StepScript script;
  BuildRun run{.argv = shell(kAddPython, {version}),
               .env = step_env(machine_root(), script),
               .image = {},
               .upper = "",
               .mounts = {{tools.uv, "/ember/tools/uv", MountAccess::read_only}},
               .network = job.network,
               .output = -1};
  std::erase(run.env, "UV_PYTHON_DOWNLOADS=never");
  if (const std::string bundle = certificates(); !bundle.empty()) {
    run.mounts.push_back({bundle, kCertificatesInBuild, MountAccess::read_only});
  }
  RecipeCommand command = on_part(job, std::move(run));
  command.after = [version](ProcessEnd end, const std::string&) -> Result<> {
    if (end.exit_status == 0) return Ok{};
    return {ErrorCode::unavailable,
            "Python " + version +
                " comes from the builds that uv knows, which could not be "
                "fetched from this node (see above); the Debian of this node has Python " +
                debian_python()};
  };
  recipe.commands.push_back(std::move(command));
  return Ok{};
}

void probe_base(LayerRecipe& recipe, const LayerJob& job) {
  BuiltImage base;
  base.on_host = false;
  base.root = {job.part + "/files"};
  add_python_probe(recipe, job, {.image = std::move(base), .upper = ""});
}

}  // namespace

Result<LayerRecipe> debian_recipe(const LayerJob& job, const LayerTools& tools) {
  const std::string version =
      job.step.arguments.empty() ? debian_python() : job.step.arguments.front();
  const bool is_debians = version == debian_python();
  auto sources = write_apt_sources(job.part);
  if (!sources.ok()) return std::move(sources).error();
  std::vector<std::string> argv{
      "/usr/bin/mmdebstrap",
      "--mode=root",
      "--variant=minbase",
      "--format=directory",
      "--aptopt=APT::Install-Recommends \"false\"",
      std::string("--include=ca-certificates,netbase,tzdata") +
          (is_debians ? ",python3,python3-pip,python3-venv" : ""),
      "--customize-hook=rm -f \"$1\"/usr/lib/python3*/EXTERNALLY-MANAGED"};
  for (const char* rule : kSlim) argv.push_back(std::string("--dpkgopt=") + rule);
  argv.push_back(debian_suite());
  argv.push_back(Stage::path("part") + "/files");
  for (const std::string& name : *sources) argv.push_back(Stage::path("part") + "/" + name);
  LayerRecipe recipe;
  recipe.commands.push_back({.make = [job, argv = std::move(argv)](int output) {
    return job.sandbox->on_machine(
        {.argv = argv,
         .env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                 "TMPDIR=" + Stage::path("part"), "HOME=" + Stage::path("part")},
         .part = job.part,
         .output = output});
  }});
  auto added = add_python(recipe, job, tools, is_debians ? "" : version);
  if (!added.ok()) return std::move(added).error();
  probe_base(recipe, job);
  return recipe;
}

Result<LayerRecipe> registry_recipe(const LayerJob& job, const LayerTools& tools) {
  LayerRecipe recipe;
  add_fetch(recipe, job, job.step.arguments.front(), "oci");
  add_unpacking(recipe, job);
  auto added = add_python(recipe, job, tools, option(job.step, "add_python"));
  if (!added.ok()) return std::move(added).error();
  probe_base(recipe, job);
  return recipe;
}

Result<LayerRecipe> dockerfile_recipe(const LayerJob& job, const LayerTools& tools) {
  LayerRecipe recipe;
  const std::string work = job.part + "/buildah";
  if (auto made = make_directory(work); !made.ok()) return std::move(made).error();
  auto written = write_file(work + "/policy.json", kAcceptAll, 0644);
  if (!written.ok()) return std::move(written).error();
  std::istringstream bases(option(job.step, "from"));
  std::size_t number = 0;
  for (std::string base; bases >> base;) {
    add_fetch(recipe, job, base, "base-" + std::to_string(number++));
  }
  std::vector<std::string> arguments{"-f", "/ember/files/" + option(job.step, "path")};
  if (const std::string target = option(job.step, "target"); !target.empty()) {
    arguments.insert(arguments.end(), {"--target", target});
  }
  for (const std::string& argument : job.step.arguments) {
    arguments.insert(arguments.end(), {"--build-arg", argument});
  }
  BuildRun run{.argv = shell(kBuildah, std::move(arguments)),
               .env = step_env(machine_root(), {}),
               .privileges = Privileges::of_containers,
               .image = {},
               .upper = "",
               .files = job.files,
               .network = job.network,
               .output = -1};
  run.env.push_back("EMBER_BASES=" + option(job.step, "from"));
  run.env.push_back(
      "STORAGE=--root /ember/build/buildah/storage --runroot /ember/build/buildah/run "
      "--storage-driver vfs");
  run.env.push_back("_CONTAINERS_USERNS_CONFIGURED=done");
  // Where Debian's programs look for whom the machine trusts.
  if (const std::string bundle = certificates(); !bundle.empty()) {
    run.mounts.push_back({bundle, kCertificatesInBuild, MountAccess::read_only});
    run.env.push_back(std::string("CA=--volume ") + kCertificatesInBuild +
                      ":/etc/ssl/certs/ca-certificates.crt:ro");
  }
  recipe.commands.push_back(on_part(job, std::move(run)));
  add_unpacking(recipe, job);
  auto added = add_python(recipe, job, tools, option(job.step, "add_python"));
  if (!added.ok()) return std::move(added).error();
  probe_base(recipe, job);
  return recipe;
}

void add_python_probe(LayerRecipe& recipe, const LayerJob& job, PythonProbe probe) {
  for (const char* name : {"python3", "python"}) {
    BuildRun run{.argv = {name, "-I", "-S", "-c", kProbe},
                 .env = {},
                 .image = probe.image,
                 .upper = probe.upper,
                 .network = "",
                 .output = -1};
    recipe.commands.push_back(
        {.make =
             [sandbox = job.sandbox, run, facts = recipe.facts](int output) mutable {
               run.output = output;
               BuiltImage seen = run.image;
               seen.env = facts->env;
               run.env = step_env(seen, {});
               return sandbox->command(run);
             },
         .output = RecipeCommand::Output::kept,
         .after = [facts = recipe.facts](ProcessEnd end, const std::string& kept) -> Result<> {
           const auto [python, version, libc] = last_lines(kept);
           if (end.exit_status == 0 && python.starts_with('/') && !version.empty()) {
             facts->python = python.substr(0, 1024);
             facts->python_version = version.substr(0, 8);
             facts->libc = libc.substr(0, 32);
           }
           return Ok{};
         }});
  }
}

}  // namespace ember
