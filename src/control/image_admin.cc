#include "control/image_admin.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "control/function_spec.h"

namespace ember {
namespace {

constexpr std::size_t kMaxAnswerBytes = 8u << 20;
constexpr std::size_t kMaxRequestBytes = 64u << 10;
// Beyond these, what no deployed app uses goes by itself.
constexpr std::int64_t kMaxLayersBytes = 64ll << 30;
constexpr Duration kMaxUnused = Duration::seconds(30 * 24 * 3600);
constexpr Duration kBetweenTidying = Duration::seconds(3600);

// One of the node's documents; it is ours, so that what is wrong with it is a fault of ours.
Result<JsonValue> read(const Result<std::string>& document) {
  if (!document) return document.error();
  return parse_json(*document, "the node's answer", kMaxAnswerBytes);
}

}  // namespace

void ImageAdmin::ask(ImageQuery query, Done done) {
  query.query = ++last_query_;
  waiting_[query.query] = std::move(done);
  node_.ask_images(std::move(query));
}

void ImageAdmin::on_answer(std::uint64_t query, Result<std::string> document) {
  auto waiting = waiting_.extract(query);
  if (!waiting.empty()) waiting.mapped()(std::move(document));
}

void ImageAdmin::list(Done done) {
  ask({.kind = ImageQuery::Kind::list}, [this, done = std::move(done)](Result<std::string> answer) {
    done(answer ? with_users(*answer) : std::move(answer));
  });
}

// With the functions that use each image.
std::string ImageAdmin::with_users(const std::string& document) const {
  std::map<std::string, std::vector<std::string>> users;
  for (const auto& [name, app] : catalog_.apps()) {
    for (const FunctionPtr& function : app.all_functions()) {
      users[image_id(function->spec.image)].push_back(name + "." + function->spec.name);
    }
  }
  auto listed = read(document);
  if (!listed || !listed->contains("images")) return document;
  for (JsonValue& image : (*listed)["images"]) {
    image["used_by"] = users[image.value("image_id", "")];
  }
  return dump_json(*listed);
}

void ImageAdmin::find(std::string image, std::function<void(Result<ImageSpec>)> done) {
  ask({.kind = ImageQuery::Kind::list},
      [image = std::move(image), done = std::move(done)](Result<std::string> answer) {
        auto listed = read(answer);
        if (!listed) return done(std::move(listed).error());
        for (const JsonValue& one : listed->value("images", JsonValue::array())) {
          if (one.value("image_id", "") == image)
            return done(parse_image_spec(one["spec"], "image"));
        }
        done(Error{ErrorCode::not_found,
                   "there is no image " + image.substr(0, 64) + "; `ember image list` shows them"});
      });
}

void ImageAdmin::log(std::string image, Done done) {
  find(std::move(image), [this, done = std::move(done)](Result<ImageSpec> spec) {
    if (!spec) return done(std::move(spec).error());
    ask({.kind = ImageQuery::Kind::log, .images = {*spec}}, done);
  });
}

std::vector<ImageSpec> ImageAdmin::images_in_use() const {
  std::vector<ImageSpec> images;
  for (const auto& [name, app] : catalog_.apps()) {
    for (const FunctionPtr& function : app.all_functions()) images.push_back(function->spec.image);
  }
  return images;
}

void ImageAdmin::prune(const std::string& request_json, Done done) {
  auto document =
      parse_json(request_json.empty() ? "{}" : request_json, "the request", kMaxRequestBytes);
  if (!document) return done(std::move(document).error());
  Fields fields(*document, "");
  const std::int64_t max_bytes = fields.integer_or("max_bytes", INT64_MAX);
  const std::int64_t unused_ms = fields.integer_or("unused_ms", 0);
  if (max_bytes < 0) fields.fail("max_bytes", "must not be below 0");
  if (unused_ms < 0 || unused_ms > (1ll << 40)) fields.fail("unused_ms", "is out of range");
  if (auto read = fields.finish(); !read) return done(std::move(read).error());
  prune_to(max_bytes, driver_.now() - Duration::milliseconds(unused_ms), std::move(done));
}

void ImageAdmin::prune_to(std::int64_t max_bytes, Time unused_since, Done done) {
  ask({.kind = ImageQuery::Kind::prune,
       .images = images_in_use(),
       .max_bytes = max_bytes,
       .unused_since = unused_since},
      [this, done = std::move(done)](Result<std::string> answer) {
        auto pruned = read(answer);
        if (!pruned) return done(std::move(pruned).error());
        for (const JsonValue& id : pruned->value("removed_images", JsonValue::array())) {
          builds_.forget(id.get<std::string>());
        }
        done(std::move(answer));
      });
}

void ImageAdmin::push(std::string image, const std::string& request_json,
                      std::shared_ptr<BuildObserver> observer) {
  auto document = parse_json(request_json, "the request", kMaxRequestBytes);
  if (!document) return observer->on_end("", std::move(document).error());
  Fields fields(*document, "");
  const std::string reference = fields.text("reference");
  const std::string auth = fields.text_or("auth", "");
  if (auto read = fields.finish(); !read) return observer->on_end("", std::move(read).error());
  if (auto fine = check_reference(reference); !fine) {
    return observer->on_end("", std::move(fine).error());
  }
  find(std::move(image), [this, push = ImageBuilds::Push{reference, auth},
                          observer = std::move(observer)](Result<ImageSpec> spec) {
    if (!spec) return observer->on_end("", std::move(spec).error());
    builds_.push(*spec, push, observer);
  });
}

void ImageAdmin::keep_tidy() {
  prune_to(kMaxLayersBytes, driver_.now() - kMaxUnused, [](const Result<std::string>& pruned) {
    if (!pruned) spdlog::warn("unused images stay: {}", pruned.error().message);
  });
  if (std::exchange(keeps_tidy_, true)) return;
  driver_.after(kBetweenTidying, [this] {
    keeps_tidy_ = false;
    keep_tidy();
  });
}

}  // namespace ember
