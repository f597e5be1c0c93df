#include "node/layer_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>

#include "base/disk_error.h"
#include "node/container_files.h"
#include "node/json_fields.h"
#include "node/node_client.h"
#include "node/node_messages.h"

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

// A file's time of change says when what it tells of was used last.
void note_use(const std::string& file) { ::utimensat(AT_FDCWD, file.c_str(), nullptr, 0); }

Time last_used(const std::string& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return {};
  return {status.st_mtim.tv_sec * 1'000'000 + status.st_mtim.tv_nsec / 1000};
}

// In a process of its own, since a large layer takes a while.
bool seal_part(const std::string& part, LayerFacts facts) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(part, error)) {
    const std::string name = entry.path().filename().string();
    if (name == "files" || name == "packages" || name == "log") continue;
    fs::remove_all(entry.path(), error);
  }
  facts.bytes = bytes_below(part);
  return write_file(part + "/layer.json", to_json(facts).dump(), 0600).ok() &&
         sync_file_system(part).ok();
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

LayerStore::LayerStore(const std::string& node_directory)
    : layers_(node_directory + "/layers"), images_(node_directory + "/images") {
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
    note_use(path_of(place.name) + "/layer.json");
  }
  note_use(record_of(spec));
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
    image.layers.push_back(place->name);
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

Command LayerStore::seal(const std::string& layer, const LayerFacts& facts) const {
  Command command;
  command.argv = {"/bin/true"};
  command.output = STDERR_FILENO;
  command.steps = {
      {"make a layer whole", [part = part_of(layer), facts] { return seal_part(part, facts); }}};
  return command;
}

Result<> LayerStore::publish(const std::string& layer) const {
  std::error_code error;
  fs::rename(part_of(layer), path_of(layer), error);
  if (error) return disk_error(path_of(layer), error.value());
  return Ok{};
}

std::string LayerStore::take_away(const std::string& directory) const {
  static std::uint64_t last = 0;
  const std::string trash = layers_ + "/gone-" + std::to_string(++last) + kPart;
  return ::rename(directory.c_str(), trash.c_str()) == 0 ? trash : "";
}

Result<> LayerStore::remember(const ImageSpec& spec) const {
  std::error_code error;
  fs::create_directories(images_, error);
  if (error) return disk_error(images_, error.value());
  return write_file(record_of(spec), canonical_json(spec), 0600);
}

std::vector<ImageSpec> LayerStore::images() const {
  std::map<std::string, ImageSpec> by_id;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(images_, ignored)) {
    auto spec = decode_image(read_file(entry.path()).value_or(""));
    if (spec.ok() && image_id(*spec) == entry.path().stem()) {
      by_id.emplace(entry.path().stem(), std::move(*spec));
    }
  }
  std::vector<ImageSpec> all;
  for (auto& [id, spec] : by_id) all.push_back(std::move(spec));
  return all;
}

std::vector<std::string> LayerStore::forget(const std::set<std::string>& kept_ids,
                                            Time unused_since) const {
  std::vector<std::string> forgotten;
  for (const ImageSpec& spec : images()) {
    const std::string id = image_id(spec), record = record_of(spec);
    const auto places = layer_places(spec);
    const bool is_whole =
        std::ranges::all_of(places, [&](const LayerPlace& place) { return has(place.name); });
    const bool is_unused = !kept_ids.contains(id) && last_used(record).us < unused_since.us;
    if (is_whole && !is_unused) continue;
    forgotten.push_back(id);
    std::error_code ignored;
    fs::remove(record, ignored);
  }
  return forgotten;
}

std::string LayerStore::record_of(const ImageSpec& spec) const {
  return images_ + "/" + image_id(spec) + ".json";
}

std::vector<LayerStore::Entry> LayerStore::list() const {
  std::vector<Entry> all;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(layers_, ignored)) {
    const std::string layer = entry.path().filename().string();
    auto known = facts(layer);
    if (known) all.push_back({layer, std::move(*known), last_used(path_of(layer) + "/layer.json")});
  }
  std::ranges::sort(all, {}, &Entry::layer);
  return all;
}

LayerStore::Pruned LayerStore::prune(const std::set<std::string>& kept, std::int64_t max_bytes,
                                     Time unused_since) const {
  std::vector<Entry> all = list();
  std::ranges::sort(all, {}, [](const Entry& entry) { return entry.used.us; });
  std::int64_t total = 0;
  for (const Entry& entry : all) total += entry.facts.bytes;
  Pruned pruned;
  for (const Entry& entry : all) {
    const bool is_needless = total - pruned.bytes > max_bytes || entry.used.us < unused_since.us;
    if (!is_needless || kept.contains(entry.layer)) continue;
    const std::string trash = take_away(path_of(entry.layer));
    if (trash.empty()) continue;
    pruned.directories.push_back(trash);
    pruned.bytes += entry.facts.bytes;
  }
  return pruned;
}

std::optional<std::string> LayerStore::log(const std::string& layer) const {
  return read_file(path_of(layer) + "/log");
}

}  // namespace ember
