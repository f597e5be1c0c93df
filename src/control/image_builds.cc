#include "control/image_builds.h"

#include <utility>

#include "control/function_spec.h"
#include "control/registry_credentials.h"

namespace ember {
namespace {

constexpr std::size_t kMaxSpecBytes = 1u << 20;
constexpr std::size_t kMaxBuilds = 64;

// Waits for several builds and tells of them once.
class AllBuilt final : public BuildObserver {
 public:
  explicit AllBuilt(std::function<void(Result<>)> done) : done_(std::move(done)) {}
  // When the last owner lets go, all builds have ended.
  ~AllBuilt() override { done_(std::move(outcome_)); }

  void on_line(std::string_view) override {}
  void on_end(const std::string& id, Result<> result) override {
    if (!result && outcome_) outcome_ = std::move(result).error().within("image " + id);
  }

 private:
  std::function<void(Result<>)> done_;
  Result<> outcome_ = Ok{};
};

}  // namespace

void ImageBuilds::build(const std::string& spec_json, std::shared_ptr<BuildObserver> observer) {
  auto document = parse_json(spec_json, "the image", kMaxSpecBytes);
  if (!document) return observer->on_end("", std::move(document).error());
  auto image = parse_image_spec(*document, "");
  if (!image) return observer->on_end("", std::move(image).error());
  watch(*image, std::move(observer));
}

void ImageBuilds::require(std::vector<ImageSpec> images, std::function<void(Result<>)> done) {
  const auto all = std::make_shared<AllBuilt>(std::move(done));
  for (const ImageSpec& image : images) {
    if (!is_built(image)) watch(image, all);
  }
}

bool ImageBuilds::is_built(const ImageSpec& image) const {
  return built_.contains(image_id(image));
}

void ImageBuilds::watch(const ImageSpec& image, std::shared_ptr<BuildObserver> observer) {
  watch(image_id(image), image, Push{}, std::move(observer));
}

void ImageBuilds::push(const ImageSpec& image, const Push& push,
                       std::shared_ptr<BuildObserver> observer) {
  const std::string with = push.auth.empty() ? "" : " with " + push.auth;
  watch(image_id(image) + " to " + push.reference + with, image, push, std::move(observer));
}

void ImageBuilds::watch(const std::string& id, const ImageSpec& image, const Push& push,
                        std::shared_ptr<BuildObserver> observer) {
  if (!fleet_.is_connected()) {
    return observer->on_end(
        id, {ErrorCode::unavailable, "no node is connected that could build it; try again"});
  }
  const bool running = running_.contains(id);
  if (!running && running_.size() >= kMaxBuilds) {
    return observer->on_end(
        id, {ErrorCode::resource_exhausted, "too many images are being built; try again"});
  }
  running_[id].push_back(std::move(observer));
  if (!running) send(id, image, push);
}

// Those of the push where there is one: what its image is made of is here already.
Result<UniqueFd> ImageBuilds::credentials_of(const ImageSpec& image, const Push& push) const {
  if (!push.auth.empty()) return registry_credentials(secrets_, push.auth, push.reference);
  if (!push.reference.empty()) return UniqueFd{};
  const auto auth = image.base.options.find(kAuthOption);
  if (auth == image.base.options.end()) return UniqueFd{};
  return registry_credentials(secrets_, auth->second, image.base.arguments.front());
}

// The node sees all sources by name, and the image those that its steps name.
void ImageBuilds::send(const std::string& id, const ImageSpec& image, const Push& push) {
  auto credentials = credentials_of(image, push);
  // An image whose layers are all here needs none.
  if (!credentials) on_line(id, credentials.error().message);
  auto order = std::make_shared<BuildOrder>(
      BuildOrder{.name = id, .spec = image, .push_to = push.reference, .sources = {}});
  if (credentials.ok()) order->credentials = std::move(*credentials);
  std::vector<std::string> named;
  for (const ImageStep& step : image.steps) {
    if (!step.files.empty()) named.push_back(step.files);
  }
  if (!image.base.files.empty()) named.push_back(image.base.files);
  if (named.empty()) return node_.build(std::move(*order));
  background_.run(
      [sources = &sources_, named]() -> Result<> {
        for (const std::string& digest : named) {
          if (auto laid_out = sources->materialise(digest); !laid_out) return laid_out;
        }
        return Ok{};
      },
      [this, order](const Result<>& laid_out) {
        if (!laid_out) return on_built(order->name, laid_out);
        auto sources = sources_.open_all();
        if (!sources) return on_built(order->name, std::move(sources).error());
        order->sources = std::move(*sources);
        node_.build(std::move(*order));
      });
}

void ImageBuilds::on_line(const std::string& id, const std::string& line) {
  const auto found = running_.find(id);
  if (found == running_.end()) return;
  const auto observers = found->second;  // one may leave while it is told
  for (const auto& observer : observers) observer->on_line(line);
}

void ImageBuilds::on_built(const std::string& id, const Result<>& result) {
  if (result.ok()) built_.insert(id);
  const auto ended = running_.extract(id);
  if (ended.empty()) return;
  for (const auto& observer : ended.mapped()) observer->on_end(id, result);
}

void ImageBuilds::on_node_lost() {
  const auto lost = std::exchange(running_, {});
  for (const auto& [id, observers] : lost) {
    for (const auto& observer : observers) {
      observer->on_end(
          id, {ErrorCode::unavailable, "the node was lost while it built the image; try again"});
    }
  }
}

}  // namespace ember
