#include "node/image_store.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/stat.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>

#include "base/disk_error.h"
#include "node/uv.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLastLines = 20;
constexpr std::size_t kMaxLine = 4 << 10;

std::string step_name(const ImageStep& step, std::size_t number) {
  return "step " + std::to_string(number + 1) + " (" + step.kind + ")";
}

// The image up to and including step `number`, as a name.
std::string layer_name(const ImageSpec& spec, std::size_t number) {
  ImageSpec prefix{.base = spec.base, .steps = {}};
  prefix.steps.assign(spec.steps.begin(), spec.steps.begin() + static_cast<long>(number) + 1);
  return "la-" + image_id(prefix).substr(3);
}

}  // namespace

// One image on its way; it goes from layer to layer.
struct ImageStore::Request {
  ImageSpec spec;
  Progress progress;
  std::size_t next = 0;
};

// One layer on its way, and everybody who waits for it.
struct ImageStore::LayerBuild {
  explicit LayerBuild(boost::asio::io_context& loop) : output(loop) {}

  std::string title;
  std::string temporary;  // renamed when all is well
  boost::asio::posix::stream_descriptor output;
  std::string partial;  // of a line
  std::deque<std::string> last_lines;
  std::vector<std::shared_ptr<Request>> waiting;

  void take(std::string_view text);
  void end_line();
  // Everything that is there now. False once the writers have gone.
  bool drain();
};

void ImageStore::LayerBuild::take(std::string_view text) {
  for (const char c : text) {
    if (c == '\n' || partial.size() >= kMaxLine) end_line();
    if (c != '\n' && c != '\r') partial += c;
  }
}

void ImageStore::LayerBuild::end_line() {
  if (partial.empty()) return;
  last_lines.push_back(partial);
  if (last_lines.size() > kLastLines) last_lines.pop_front();
  for (const auto& request : waiting) request->progress.on_line(partial);
  partial.clear();
}

bool ImageStore::LayerBuild::drain() {
  char buffer[16 << 10];
  for (;;) {
    const ssize_t got = ::read(output.native_handle(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got < 0 && errno == EAGAIN;
    take({buffer, static_cast<std::size_t>(got)});
  }
}

ImageStore::ImageStore(boost::asio::io_context& loop, ProcessTable& processes,
                       std::string node_directory, std::string uv)
    : loop_(loop),
      processes_(processes),
      node_directory_(std::move(node_directory)),
      uv_(std::move(uv)) {
  // What an earlier life of the node left half built.
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(node_directory_ + "/layers", ignored)) {
    if (entry.path().extension() == ".part") fs::remove_all(entry.path(), ignored);
  }
}

ImageStore::~ImageStore() = default;

std::optional<std::vector<std::string>> ImageStore::layers(const ImageSpec& spec) const {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    all.push_back(node_directory_ + "/layers/" + layer_name(spec, i));
    std::error_code ignored;
    if (!fs::is_directory(all.back(), ignored)) return std::nullopt;
  }
  return all;
}

void ImageStore::build(const ImageSpec& spec, Progress progress) {
  go_on(std::make_shared<Request>(Request{spec, std::move(progress), 0}));
}

void ImageStore::go_on(std::shared_ptr<Request> request) {
  for (; request->next < request->spec.steps.size(); ++request->next) {
    const ImageStep& step = request->spec.steps[request->next];
    const std::string layer = layer_name(request->spec, request->next);
    std::error_code ignored;
    if (fs::is_directory(node_directory_ + "/layers/" + layer, ignored)) continue;
    const bool is_new = !building_.contains(layer);
    if (is_new) building_[layer] = std::make_unique<LayerBuild>(loop_);
    building_[layer]->waiting.push_back(request);
    if (is_new) start_layer(layer, step, request->next);
    return;
  }
  boost::asio::post(loop_, [request] { request->progress.on_end(Ok{}); });
}

void ImageStore::start_layer(const std::string& layer, const ImageStep& step, std::size_t number) {
  LayerBuild& build = *building_[layer];
  build.title = step_name(step, number);
  build.temporary = node_directory_ + "/layers/" + layer + ".part";
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return finish(layer,
                  Error{ErrorCode::unavailable, std::string("pipe: ") + std::strerror(errno)});
  }
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
  build.output.assign(read_end.release());
  auto command = uv_install({.uv = uv_,
                             .packages = step.arguments,
                             .target = build.temporary,
                             .cache = node_directory_ + "/uv-cache",
                             .output = write_end.get()});
  if (!command.ok()) {
    return finish(layer, std::move(command).error().within("image: " + build.title));
  }
  auto pid = processes_.run(*command, [this, layer](ProcessEnd end) { layer_ended(layer, end); });
  if (!pid.ok()) return finish(layer, std::move(pid).error());
  follow_output(layer);
}

void ImageStore::follow_output(const std::string& layer) {
  building_[layer]->output.async_wait(
      boost::asio::posix::stream_descriptor::wait_read,
      [this, layer, alive = std::weak_ptr<int>(alive_)](auto error) {
        if (error || alive.expired()) return;
        const auto found = building_.find(layer);
        if (found == building_.end()) return;
        const bool more = found->second->drain();
        if (more) follow_output(layer);
      });
}

void ImageStore::layer_ended(const std::string& layer, ProcessEnd end) {
  LayerBuild& build = *building_[layer];
  build.drain();
  build.end_line();
  if (end.exit_status == 0) {
    std::error_code error;
    fs::rename(build.temporary, node_directory_ + "/layers/" + layer, error);
    if (!error) return finish(layer, Ok{});
    build.last_lines.push_back("rename: " + error.message());
  }
  finish(layer, failure_of(build));
}

Error ImageStore::failure_of(const LayerBuild& build) const {
  std::string message = "image: " + build.title + " failed";
  for (const std::string& line : build.last_lines) message += "\n  " + line;
  if (const auto disk = uv_disk_error(build.last_lines)) {
    Error refused = disk_error(node_directory_, *disk);
    return {refused.code, message + "\n" + refused.message};
  }
  return {ErrorCode::invalid_argument, message + "\n" + uv_hint(build.last_lines)};
}

void ImageStore::finish(const std::string& layer, Result<> result) {
  const auto build = std::move(building_[layer]);
  building_.erase(layer);
  if (!result.ok()) {
    std::error_code ignored;
    fs::remove_all(build->temporary, ignored);
  }
  for (const auto& request : build->waiting) {
    if (result.ok()) {
      ++request->next;
      go_on(request);
    } else {
      boost::asio::post(loop_, [request, result] { request->progress.on_end(result); });
    }
  }
}

}  // namespace ember
