#include "node/image_store.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "base/disk_error.h"
#include "base/wall_clock.h"
#include "node/image_queries.h"
#include "node/push_recipe.h"
#include "node/uv.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kDiskLook{1};
// A build leaves so much of the disk to the rest of the node, or that part where the disk is small.
constexpr std::uint64_t kLeastFreeBytes = 1ull << 30;
constexpr std::uint64_t kLeastFreePart = 20;
constexpr const char* kOldestPython = "3.9";

std::string seconds_text(Duration duration) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f s", static_cast<double>(duration.us) / 1e6);
  return text;
}

// A directory of that name in it, and no way around by a link.
UniqueFd open_beneath(int directory, const std::string& name) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  return UniqueFd(
      static_cast<int>(::syscall(SYS_openat2, directory, name.c_str(), &how, sizeof(how))));
}

bool is_older(const std::string& version, const std::string& than) {
  const auto minor = [](const std::string& text) { return std::atoi(text.c_str() + 2); };
  return !version.starts_with("3.") || minor(version) < minor(than);
}

bool is_nearly_full(const std::string& path) {
  struct statvfs status {};
  if (::statvfs(path.c_str(), &status) != 0) return false;
  const std::uint64_t free = static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
  const std::uint64_t whole = static_cast<std::uint64_t>(status.f_blocks) * status.f_frsize;
  return free < std::min(kLeastFreeBytes, whole / kLeastFreePart);
}

}  // namespace

// One image on its way; it goes from layer to layer.
struct ImageStore::Request {
  Order order;
  Progress progress;
  std::size_t next = 0;  // of the layers
};

// One layer on its way, and everybody who waits for it.
struct ImageStore::Building {
  std::string layer, title;
  ImageSpec spec;  // whose layer it is
  ImageStep step;
  UniqueFd files;
  std::shared_ptr<const UniqueFd> credentials;
  Time began;
  std::unique_ptr<BuildSandbox> sandbox;
  std::optional<Network> network;
  std::unique_ptr<LayerBuild> build;
  std::vector<std::shared_ptr<Request>> waiting;
};

ImageStore::ImageStore(boost::asio::io_context& loop, ProcessTable& processes, LayerTools tools)
    : loop_(loop),
      processes_(processes),
      tools_(std::move(tools)),
      layers_(tools_.node_directory),
      disk_timer_(loop) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(uv_directory(tools_.node_directory), ignored)) {
    if (entry.path().extension() == ".part") fs::remove_all(entry.path(), ignored);
  }
}

// What is not removed yet has a name that the next start sweeps.
ImageStore::~ImageStore() {
  for (const pid_t pid : removing_) processes_.signal(pid, SIGKILL);
  for (auto& [layer, building] : building_) {
    building->build.reset();
    building->sandbox.reset();
    if (building->network) tools_.sandboxes->networks().end(building->network->record);
    std::error_code ignored;
    fs::remove_all(layers_.part_of(layer), ignored);
  }
}

void ImageStore::build(Order order, Progress progress) {
  go_on(std::make_shared<Request>(Request{std::move(order), std::move(progress), 0}));
}

void ImageStore::go_on(std::shared_ptr<Request> request) {
  const ImageSpec& spec = request->order.spec;
  const auto places = layer_places(spec);
  for (; request->next < places.size(); ++request->next) {
    const LayerPlace& place = places[request->next];
    if (layers_.has(place.name)) continue;
    const auto found = building_.find(place.name);
    if (found != building_.end()) return found->second->waiting.push_back(std::move(request));
    auto building = std::make_unique<Building>();
    building->layer = place.name;
    building->title = place.title;
    building->spec = spec;
    building->step = place.step;
    if (request->order.files && !place.step.files.empty()) {
      building->files = open_beneath(request->order.files.get(), place.step.files);
    }
    building->credentials = request->order.credentials;
    building->waiting.push_back(std::move(request));
    return add(std::move(building));
  }
  boost::asio::post(loop_, [this, alive = std::weak_ptr<int>(alive_), request] {
    if (!alive.expired()) all_built(request);
  });
}

void ImageStore::add(std::unique_ptr<Building> building) {
  building->began = wall_clock();
  const std::string layer = building->layer;
  building_[layer] = std::move(building);
  begin(layer);
}

void ImageStore::all_built(std::shared_ptr<Request> request) {
  const ImageSpec& spec = request->order.spec;
  Result<> whole = check_whole(spec);
  if (whole.ok()) whole = layers_.remember(spec);
  const std::string reference = std::exchange(request->order.push_to, {});
  if (!whole.ok() || reference.empty()) return request->progress.on_end(std::move(whole));
  // A push takes what a layer's build takes, and leaves no layer.
  auto push = std::make_unique<Building>();
  push->layer = "push-" + std::to_string(++pushes_);
  push->title = "push to " + reference;
  push->spec = spec;
  push->step = {.kind = kPush, .arguments = {reference}};
  push->credentials = request->order.credentials;
  push->waiting.push_back(std::move(request));
  add(std::move(push));
}

std::set<std::string> ImageStore::layers_on_their_way() const {
  std::set<std::string> all;
  for (const auto& [layer, building] : building_) {
    for (const auto& request : building->waiting) {
      for (const LayerPlace& place : layer_places(request->order.spec)) all.insert(place.name);
    }
  }
  return all;
}

Result<std::string> ImageStore::answer(const ImageQuery& query, std::set<std::string> kept) {
  if (query.kind == ImageQuery::Kind::list) return images_document(layers_);
  if (query.kind == ImageQuery::Kind::log) {
    if (query.images.size() != 1) return {ErrorCode::invalid_argument, "name one image"};
    return log_document(layers_, query.images.front());
  }
  kept.merge(layers_on_their_way());
  std::vector<std::string> trash;
  auto document = prune_document(layers_, query, std::move(kept), trash);
  remove_directories(std::move(trash));
  return document;
}

Result<> ImageStore::check_whole(const ImageSpec& spec) const {
  const auto image = layers_.find(spec);
  if (!image) return {ErrorCode::unavailable, "image: a layer was removed meanwhile; try again"};
  const LayerFacts facts = layers_.below(spec, "").facts;
  if (image->python.empty()) {
    return {ErrorCode::invalid_argument,
            "image: it has no Python; add it with add_python=\"3.11\" or "
            ".apt_install(\"python3\")"};
  }
  if (!image->on_host && is_older(facts.python_version, kOldestPython)) {
    return {ErrorCode::invalid_argument, "image: its Python is " + facts.python_version +
                                             "; functions take " + kOldestPython + " or newer"};
  }
  return Ok{};
}

void ImageStore::begin(const std::string& layer) {
  Building& building = *building_[layer];
  const std::string part = layers_.part_of(layer);
  std::error_code error;
  fs::remove_all(part, error);
  fs::create_directories(part, error);
  if (!error) fs::permissions(part, fs::perms(0755), error);
  if (error) {
    return finish(layer, disk_error(part, error.value()).within("image: " + building.title));
  }
  building.build = std::make_unique<LayerBuild>(
      loop_, processes_, part + "/log",
      LayerBuild::Listener{
          .on_line =
              [&building](const std::string& line) {
                for (const auto& one : building.waiting) one->progress.on_line(line);
              },
          .on_end = [this, layer](Result<LayerFacts> result) { ended(layer, std::move(result)); }});
  building.build->say(building.title);
  if (building_.size() == 1) watch_disk();
  if (!needs_sandbox(building.step)) return start(layer);
  if (tools_.sandboxes == nullptr) {
    return finish(layer, Error{ErrorCode::unavailable,
                               "image: " + building.title +
                                   " takes containers, and this node runs plain processes"});
  }
  building.sandbox = tools_.sandboxes->make(part);
  if (!building.sandbox) return waiting_for_a_sandbox_.push_back(layer);
  prepare(building);
}

// The network first, if the step needs one.
void ImageStore::prepare(Building& building) {
  const std::string layer = building.layer;
  if (!needs_network(building.step)) return start(layer);
  NetworkPool& networks = tools_.sandboxes->networks();
  if (!networks.makes()) {
    return finish(layer, Error{ErrorCode::unavailable,
                               "image: " + building.title +
                                   " takes a network for containers, which this node has not"});
  }
  networks.take([this, layer, alive = std::weak_ptr<int>(alive_)](Result<Network> network) {
    if (alive.expired()) return;
    if (!network.ok()) return finish(layer, std::move(network).error());
    building_[layer]->network = std::move(*network);
    start(layer);
  });
}

void ImageStore::start(const std::string& layer) {
  Building& building = *building_[layer];
  if (!building.step.files.empty() && !building.files) {
    return finish(layer, Error{ErrorCode::conflict,
                               "image: " + building.title +
                                   ": its files are not here; deploy again to upload them"});
  }
  auto recipe = recipe_of({.step = building.step,
                           .title = building.title,
                           .below = layers_.below(building.spec, layer),
                           .part = layers_.part_of(layer),
                           .files = building.files ? building.files.get() : -1,
                           .sandbox = building.sandbox.get(),
                           .credentials = building.credentials,
                           .network = building.network ? building.network->path : ""},
                          tools_);
  if (!recipe.ok()) return finish(layer, failure_of(building, std::move(recipe).error()));
  building.build->run(std::move(*recipe));
}

// A step may write more than there is: it gives way before the rest of the node has to.
void ImageStore::watch_disk() {
  disk_timer_.expires_after(kDiskLook);
  disk_timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](auto error) {
    if (error || alive.expired() || building_.empty()) return;
    if (is_nearly_full(tools_.node_directory)) {
      for (auto& [layer, building] : building_) {
        building->build->give_up(
            {ErrorCode::resource_exhausted,
             "the node's disk is nearly full: `ember image prune` frees what no app uses"});
      }
    }
    watch_disk();
  });
}

void ImageStore::ended(const std::string& layer, Result<LayerFacts> result) {
  Building& building = *building_[layer];
  if (!result.ok()) return finish(layer, failure_of(building, std::move(result).error()));
  if (building.step.kind == kPush) {
    remove_directories({layers_.take_away(layers_.part_of(layer))});
    return finish(layer, Ok{});
  }
  LayerFacts facts = std::move(*result);
  facts.title = building.title;
  facts.built = wall_clock();
  facts.took = facts.built - building.began;
  building.build->say(building.title + " took " + seconds_text(facts.took));
  building.sandbox.reset();
  auto sealing = processes_.run(
      layers_.seal(layer, facts),
      [this, layer, alive = std::weak_ptr<int>(alive_)](ProcessEnd end) {
        if (alive.expired()) return;
        if (end.exit_status == 0) return finish(layer, layers_.publish(layer));
        finish(layer, Error{ErrorCode::unavailable,
                            "image: " + building_[layer]->title +
                                " could not be kept on the node's disk; its log says why"});
      });
  if (!sealing.ok()) finish(layer, std::move(sealing).error());
}

// By a process: a large layer takes a while.
void ImageStore::remove_directories(std::vector<std::string> directories) {
  std::erase(directories, "");
  if (directories.empty()) return;
  Command command;
  command.argv = {"/bin/rm", "-rf", "--"};
  command.argv.insert(command.argv.end(), directories.begin(), directories.end());
  const auto pid = std::make_shared<pid_t>(0);
  auto started =
      processes_.run(command, [this, pid, alive = std::weak_ptr<int>(alive_)](ProcessEnd) {
        if (!alive.expired()) removing_.erase(*pid);
      });
  if (!started.ok()) return;
  *pid = *started;
  removing_.insert(*pid);
}

Error ImageStore::failure_of(const Building& building, Error error) const {
  std::string message = "image: " + building.title + " failed";
  const auto& lines = building.build->last_lines();
  for (const std::string& line : lines) message += "\n  " + line;
  if (!error.message.empty()) return {error.code, message + "\n" + error.message};
  if (building.sandbox && building.sandbox->ran_out_of_memory()) {
    return {ErrorCode::resource_exhausted, message + "\nIt ran out of memory."};
  }
  if (const auto disk = disk_refusal(lines)) {
    const Error refused = disk_error(tools_.node_directory, *disk);
    return {refused.code, message + "\n" + refused.message};
  }
  return {ErrorCode::invalid_argument, message + "\n" + build_hint(building.step, lines)};
}

void ImageStore::finish(const std::string& layer, Result<> result) {
  const auto building = std::move(building_[layer]);
  building_.erase(layer);
  building->build.reset();
  building->sandbox.reset();
  if (building->network) tools_.sandboxes->networks().end(building->network->record);
  if (!result.ok()) remove_directories({layers_.take_away(layers_.part_of(layer))});
  for (const auto& request : building->waiting) {
    if (result.ok()) {
      if (building->step.kind != kPush) ++request->next;
      go_on(request);
    } else {
      boost::asio::post(loop_, [request, result] { request->progress.on_end(result); });
    }
  }
  while (!waiting_for_a_sandbox_.empty()) {
    Building& next = *building_[waiting_for_a_sandbox_.front()];
    next.sandbox = tools_.sandboxes->make(layers_.part_of(next.layer));
    if (!next.sandbox) return;
    waiting_for_a_sandbox_.pop_front();
    prepare(next);
  }
}

}  // namespace ember
