#include "node/step_script.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "node/uv.h"

namespace ember {
namespace {

constexpr const char* kAptInstall =
    "export DEBIAN_FRONTEND=noninteractive\n"
    "apt-get update -q\n"
    "apt-get install -q -y --no-install-recommends -- \"$@\"\n"
    "rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb";
constexpr const char* kRunCommands =
    "for command; do printf '$ %s\\n' \"$command\"; /bin/sh -c \"$command\"; done";
constexpr const char* kMakeDirectory = "mkdir -p -- \"$1\"";
// Sources are kept read-only; in an image their owner may write to them.
constexpr const char* kAddLocal =
    "mkdir -p -- \"$1\"\n"
    "cp -R /ember/files/. \"$1\"\n"
    "cd /ember/files\n"
    "find . -type f -exec sh -c 'for name; do chmod u+w \"$0/$name\"; done' \"$1\" {} +";
// The lock names each file's digest; what is installed is what it says, or nothing.
constexpr const char* kUvSync =
    "cd /ember/files\n"
    "/ember/tools/uv export --quiet --frozen --no-emit-project --no-header \"$@\" "
    "-o /ember/cache/locked.txt\n"
    "/ember/tools/uv pip install --system --break-system-packages --require-hashes "
    "-r /ember/cache/locked.txt";
constexpr const char* kRunFunction = "from ember.runner._build import main; main()";

std::vector<std::string> shell(const char* script, std::vector<std::string> arguments) {
  std::vector<std::string> argv{"/bin/sh", "-ec", script, "sh"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

std::string option(const ImageStep& step, const std::string& name) {
  const auto found = step.options.find(name);
  return found == step.options.end() ? "" : found->second;
}

// "index.example:8080" of "http://user@index.example:8080/simple".
std::string host_of(const std::string& address) {
  const auto from = address.find("//") + 2;
  const std::string whole = address.substr(from, address.find('/', from) - from);
  return whole.substr(whole.find('@') == std::string::npos ? 0 : whole.find('@') + 1);
}

std::vector<std::string> pip_install(const ImageStep& step, const LayerFacts& below) {
  std::vector<std::string> argv{below.python.empty() ? "python3" : below.python,
                                "-m",
                                "pip",
                                "install",
                                "--no-cache-dir",
                                "--disable-pip-version-check",
                                "--no-input",
                                "--root-user-action=ignore",
                                "--progress-bar=off"};
  for (const auto& [name, flag] :
       {std::pair{"index_url", "--index-url"}, std::pair{"extra_index_url", "--extra-index-url"}}) {
    if (const std::string value = option(step, name); !value.empty()) {
      argv.insert(argv.end(), {flag, value});
      // Named so by the user, who knows that nothing vouches for it.
      if (value.starts_with("http://")) {
        argv.insert(argv.end(), {"--trusted-host", host_of(value)});
      }
    }
  }
  if (!option(step, "pre").empty()) argv.push_back("--pre");
  return argv;
}

// "a,b" as FLAG a FLAG b.
std::vector<std::string> repeated(const char* flag, const std::string& list) {
  std::vector<std::string> all;
  for (std::size_t from = 0; from < list.size();) {
    const auto end = std::min(list.find(',', from), list.size());
    all.insert(all.end(), {flag, list.substr(from, end - from)});
    from = end + 1;
  }
  return all;
}

std::vector<std::string> uv_sync(const ImageStep& step) {
  std::vector<std::string> arguments = repeated("--group", option(step, "groups"));
  for (std::string& one : repeated("--extra", option(step, "extras"))) {
    arguments.push_back(std::move(one));
  }
  return shell(kUvSync, std::move(arguments));
}

bool holds_password(const std::string& value) {
  const auto scheme = value.find("://");
  return scheme != std::string::npos && value.find('@', scheme) != std::string::npos;
}

bool says(const std::deque<std::string>& lines, std::string_view words) {
  return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
    return line.find(words) != std::string::npos;
  });
}

}  // namespace

StepScript script_of(const ImageStep& step, const LayerFacts& below) {
  if (step.kind == "apt_install") {
    return {.argv = shell(kAptInstall, step.arguments), .may_change_python = true};
  }
  if (step.kind == "run_commands") {
    return {.argv = shell(kRunCommands, step.arguments), .may_change_python = true};
  }
  if (step.kind == "workdir") return {.argv = shell(kMakeDirectory, step.arguments)};
  if (step.kind == "add_local") return {.argv = shell(kAddLocal, {option(step, "to")})};
  if (step.kind == "uv_sync") return {.argv = uv_sync(step), .needs_uv = true};
  if (step.kind == "run_function") {
    return {.argv = {below.python.empty() ? "python3" : below.python, "-c", kRunFunction,
                     option(step, "module"), option(step, "qualname")},
            .needs_sdk = true};
  }
  std::vector<std::string> argv = pip_install(step, below);
  if (step.kind == "pip_install_from_requirements") {
    argv.insert(argv.end(), {"-r", "/ember/files/" + option(step, "path")});
  } else {
    argv.insert(argv.end(), step.arguments.begin(), step.arguments.end());
  }
  return {.argv = std::move(argv)};
}

std::vector<std::string> step_env(const BuiltImage& image, const StepScript& script) {
  std::map<std::string, std::string> env{
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
      {"LANG", "C.UTF-8"},
      {"HOME", "/root"},
      {"PIP_BREAK_SYSTEM_PACKAGES", "1"},
      {"UV_CACHE_DIR", "/ember/cache"},
      {"UV_NO_PROGRESS", "1"},
      {"UV_LINK_MODE", "copy"},
      {"UV_PYTHON_DOWNLOADS", "never"},
      {"NO_COLOR", "1"}};
  for (const std::string& setting : index_settings()) {
    const auto split = setting.find('=');
    const std::string name = setting.substr(0, split), value = setting.substr(split + 1);
    if (holds_password(value) || name == "SSL_CERT_FILE" || name == "UV_FIND_LINKS") continue;
    env[name] = value;
    if (name == "UV_DEFAULT_INDEX") env["PIP_INDEX_URL"] = value;
    if (name == "UV_EXTRA_INDEX_URL") env["PIP_EXTRA_INDEX_URL"] = value;
  }
  if (!certificates().empty()) {
    for (const char* name : {"SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}) {
      env[name] = kCertificatesInBuild;
    }
  }
  for (const auto& [name, value] : image.env) env[name] = value;
  std::string packages = script.needs_sdk ? "/ember/python:/ember/files" : "";
  for (std::size_t i = image.packages.size(); i-- > 0;) {
    const std::string layer = "/ember/layers/" + std::to_string(i);
    packages += (packages.empty() ? "" : ":") + layer;
    env["PATH"] = layer + "/bin:" + env["PATH"];
  }
  if (!packages.empty()) {
    std::string& path = env["PYTHONPATH"];
    path = packages + (path.empty() ? "" : ":" + path);
  }
  std::vector<std::string> all;
  for (const auto& [name, value] : env) all.push_back(name + "=" + value);
  return all;
}

std::string certificates() {
  const char* own = std::getenv("SSL_CERT_FILE");
  for (const char* path :
       {own, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"}) {
    if (path != nullptr && ::access(path, R_OK) == 0) return path;
  }
  return "";
}

std::string step_hint(const ImageStep& step, const std::deque<std::string>& lines) {
  if (says(lines, "Unable to locate package") || says(lines, "has no installation candidate")) {
    return "Check the package's name: the image's Debian does not have it.";
  }
  if (says(lines, "No matching distribution found") ||
      says(lines, "Could not find a version that satisfies")) {
    return "Check the package's name and version: the index has none for this Python.";
  }
  if (says(lines, "No module named pip")) {
    return "The image has no pip: add .apt_install(\"python3-pip\"), or use .uv_pip_install(...).";
  }
  if (says(lines, "gcc") || says(lines, "Python.h")) {
    return "It compiles C code: add .apt_install(\"build-essential\", \"python3-dev\") before it.";
  }
  if (says(lines, "Temporary failure resolving") || says(lines, "Name or service not known") ||
      says(lines, "Network is unreachable") || says(lines, "Connection refused")) {
    return "A build reaches the public internet alone; addresses of your own network are opened "
           "with `ember up --allow-network`.";
  }
  if (says(lines, "executable file `/bin/sh` not found") || says(lines, "/bin/sh: not found")) {
    return "The image has no shell, which this step takes: use another base.";
  }
  if (says(lines, "ModuleNotFoundError") && step.kind == "run_function") {
    return "Install what the function imports in a step before it.";
  }
  if (says(lines, "authentication required") || says(lines, "unauthorized") ||
      says(lines, "access to the resource is denied")) {
    return "The registry asks who comes, or has no such image: give from_registry(..., "
           "auth=ember.Secret.from_name(...)), or `ember image push --auth`, a secret with "
           "REGISTRY_USERNAME and REGISTRY_PASSWORD.";
  }
  return "Run the step's command in `ember shell` on the image so far to look closer.";
}

}  // namespace ember
