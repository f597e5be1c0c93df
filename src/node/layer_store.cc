#include "node/layer_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/disk_error.h"
#include "node/container_files.h"
#include "node/json_fields.h"
#include "node/node_client.h"

namespace ember {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::size_t kShownArguments = 60;
constexpr const char* kPart = ".part";

std::string title_of(const ImageStep& step, std::size_t number) {
  std::string what = step.kind;
  for (const std::string& argument : step.arguments) {
    what += " " + argument.substr(0, argument.find('\n'));
    if (what.size() > kShownArguments) break;
  }
  if (what.size() > kShownArguments) what = what.substr(0, kShownArguments) + "…";
  return (number == 0 ? "base (" : "step " + std::to_string(number) + " (") + what + ")";
}

std::int64_t bytes_below(const std::string& path) {
  std::error_code error;
  std::int64_t bytes = 0;
  for (fs::recursive_directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    struct stat status {};
    if (::lstat(entry->path().c_str(), &status) == 0) bytes += status.st_blocks * 512;
  }
  return bytes;
}

Json to_json(const LayerFacts& facts) {
  Json env = Json::array();
  for (const auto& [name, value] : facts.env) env.push_back({{"name", name}, {"value", value}});
  return {{"title", facts.title},
          {"python", facts.python},
          {"python_version", facts.python_version},
          {"libc", facts.libc},
          {"env", std::move(env)},
          {"working_directory", facts.working_directory},
          {"bytes", facts.bytes},
          {"built_us", facts.built.us},
          {"took_us", facts.took.us}};
}

std::optional<LayerFacts> read_facts(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return std::nullopt;
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  JsonFields fields(json);
  LayerFacts facts{.title = fields.text("title"),
                   .python = fields.text("python"),
                   .python_version = fields.text("python_version"),
                   .libc = fields.text("libc"),
                   .env = {},
                   .working_directory = fields.text("working_directory"),
                   .bytes = fields.integer("bytes"),
                   .built = fields.time("built_us"),
                   .took = {fields.integer("took_us")}};
  fields.objects("env", [&](JsonFields& entry) {
    facts.env.emplace_back(entry.text("name"), entry.text("value"));
  });
  if (!fields.check().ok()) return std::nullopt;
  return facts;
}

Result<> sync_file_system(const std::string& directory) {
  const UniqueFd opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened || ::syncfs(opened.get()) != 0) return disk_error(directory, errno);
  return Ok{};
}

// What a setting says, and where the work goes on.
void apply(const ImageStep& step, BuiltImage& image) {
  if (step.kind == "env") {
    for (const std::string& argument : step.arguments) {
      const auto split = argument.find('=');
      image.env.emplace_back(argument.substr(0, split), argument.substr(split + 1));
    }
  } else if (step.kind == "entrypoint") {
    image.entrypoint = step.arguments;
  } else if (step.kind == "workdir") {
    image.working_directory = step.arguments.front();
  }
}

}  // namespace

std::vector<LayerPlace> layer_places(const ImageSpec& spec) {
  std::vector<LayerPlace> places;
  const auto add = [&](const ImageStep& step, std::size_t number) {
    ImageSpec prefix{.base = spec.base, .steps = {}};
    prefix.steps.assign(spec.steps.begin(), spec.steps.begin() + static_cast<long>(number));
    places.push_back({step, "la-" + image_id(prefix).substr(3), title_of(step, number)});
  };
  if (!spec.on_host()) add(spec.base, 0);
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    if (!is_setting(spec.steps[i])) add(spec.steps[i], i + 1);
  }
  return places;
}

LayerStore::LayerStore(std::string node_directory)
    : layers_(std::move(node_directory) + "/layers") {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(layers_, ignored)) {
    if (entry.path().extension() == kPart) fs::remove_all(entry.path(), ignored);
  }
}

bool LayerStore::has(const std::string& layer) const {
  return ::access((path_of(layer) + "/layer.json").c_str(), F_OK) == 0;
}

std::optional<LayerFacts> LayerStore::facts(const std::string& layer) const {
  return read_facts(path_of(layer) + "/layer.json");
}

std::optional<BuiltImage> LayerStore::find(const ImageSpec& spec) const {
  for (const LayerPlace& place : layer_places(spec)) {
    if (!has(place.name)) return std::nullopt;
    ::utimensat(AT_FDCWD, (path_of(place.name) + "/layer.json").c_str(), nullptr, 0);
  }
  return below(spec, "").image;
}

LayerStore::Below LayerStore::below(const ImageSpec& spec, const std::string& layer) const {
  Below found;
  BuiltImage& image = found.image;
  image.on_host = spec.on_host();
  if (image.on_host) found.facts.python = kPython;
  const auto places = layer_places(spec);
  auto place = places.begin();
  const auto add = [&] {
    const std::string path = path_of(place->name);
    (is_package_layer(place->step) ? image.packages : image.root)
        .push_back(path + (is_package_layer(place->step) ? "/packages" : "/files"));
    if (auto known = facts(place->name)) found.facts = std::move(*known);
    ++place;
  };
  const auto is_end = [&] { return place != places.end() && place->name == layer; };
  if (!image.on_host && !is_end()) add();
  image.env = found.facts.env;
  image.working_directory = found.facts.working_directory;
  for (const ImageStep& step : spec.steps) {
    if (!is_setting(step) && is_end()) break;
    apply(step, image);
    if (!is_setting(step)) add();
  }
  image.python = found.facts.python;
  return found;
}

Result<> LayerStore::publish(const std::string& layer, const LayerFacts& facts) const {
  const std::string part = part_of(layer);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(part, error)) {
    const std::string name = entry.path().filename().string();
    if (name == "files" || name == "packages" || name == "log") continue;
    fs::remove_all(entry.path(), error);
  }
  LayerFacts whole = facts;
  whole.bytes = bytes_below(part);
  auto written = write_file(part + "/layer.json", to_json(whole).dump(), 0600);
  if (!written.ok()) return written;
  if (auto synced = sync_file_system(part); !synced.ok()) return synced;
  fs::remove_all(path_of(layer), error);
  fs::rename(part, path_of(layer), error);
  if (error) return disk_error(path_of(layer), error.value());
  return Ok{};
}

void LayerStore::discard(const std::string& layer) const {
  std::error_code ignored;
  fs::remove_all(part_of(layer), ignored);
}

std::vector<LayerStore::Entry> LayerStore::list() const {
  std::vector<Entry> all;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(layers_, ignored)) {
    const std::string layer = entry.path().filename().string();
    struct stat status {};
    auto known = facts(layer);
    if (!known || ::stat((path_of(layer) + "/layer.json").c_str(), &status) != 0) continue;
    const std::int64_t used_us = status.st_mtim.tv_sec * 1'000'000 + status.st_mtim.tv_nsec / 1000;
    all.push_back({layer, std::move(*known), Time{used_us}});
  }
  std::ranges::sort(all, {}, &Entry::layer);
  return all;
}

std::int64_t LayerStore::prune(const std::set<std::string>& kept, std::int64_t max_bytes,
                               Time unused_since) const {
  std::vector<Entry> all = list();
  std::ranges::sort(all, {}, [](const Entry& entry) { return entry.used.us; });
  std::int64_t total = 0, freed = 0;
  for (const Entry& entry : all) total += entry.facts.bytes;
  for (const Entry& entry : all) {
    const bool is_needless = total - freed > max_bytes || entry.used.us < unused_since.us;
    if (!is_needless || kept.contains(entry.layer)) continue;
    std::error_code error;
    // Away from its name at once, so that nothing builds on half of it.
    fs::rename(path_of(entry.layer), part_of(entry.layer), error);
    if (error) continue;
    fs::remove_all(part_of(entry.layer), error);
    freed += entry.facts.bytes;
  }
  return freed;
}

std::optional<std::string> LayerStore::log(const std::string& layer) const {
  return read_file(path_of(layer) + "/log");
}

}  // namespace ember
