#include "control/scaling_changes.h"

#include <algorithm>
#include <utility>

#include "control/json.h"

namespace ember {
namespace {

constexpr std::size_t kMostBytes = 4 << 10;
constexpr std::size_t kShownName = 64;

std::string to_json_text(const Scaling& scaling) {
  return dump_json({{"min_containers", scaling.min_containers},
                    {"max_containers", scaling.max_containers},
                    {"buffer_containers", scaling.buffer_containers},
                    {"scaledown_window_ms", scaling.scaledown_window.whole_ms()}});
}

// The function's settings with those that the text names.
Result<Scaling> scaling_with(const Function& function, const std::string& text) {
  const auto json = parse_json(text, "the request", kMostBytes);
  if (!json) return json.error();
  Fields fields(*json, "");
  FunctionSettings settings = function.spec.settings;
  settings.scaling = function.scaling;
  read_scaling(fields, settings.scaling);
  if (auto read = fields.finish(); !read) return std::move(read).error();
  if (auto fine = check(settings); !fine) return std::move(fine).error();
  return settings.scaling;
}

}  // namespace

Result<FunctionPtr> ScalingChanges::find(std::string_view app, std::string_view function,
                                         std::string_view variant) const {
  const App* known = catalog_.find_app(app);
  if (!known || known->record.stopped) return catalog_.not_running(app);
  const FunctionPtr* found = catalog_.find_function(app, function);
  if (!found) {
    return {ErrorCode::not_found, "the app " + known->name() + " has no function or class \"" +
                                      std::string(function.substr(0, kShownName)) +
                                      "\"; `ember function list` shows those there are"};
  }
  if (variant.empty()) return *found;
  const FunctionPtr* its = catalog_.find_variant(**found, variant);
  if (its) return *its;
  return {ErrorCode::not_found, "there is no such variant of it any more; make it again"};
}

void ScalingChanges::change(const std::string& app, const std::string& function,
                            const std::string& variant, const std::string& request_json,
                            Done done) {
  auto found = find(app, function, variant);
  if (!found) return done(std::move(found).error());
  auto scaling = scaling_with(**found, request_json);
  if (!scaling) return done(std::move(scaling).error());
  const ScalingRecord record{(*found)->pool, (*found)->app, to_json_text(*scaling)};
  store_.apply({record}, background_.to_loop([this, function = *found, scaling = *scaling, record,
                                              done = std::move(done)](const Result<>& written) {
    if (!written) return done(written.error());
    apply(*function, scaling);
    done(record.scaling_json);
  }));
}

void ScalingChanges::apply(Function& function, const Scaling& scaling) {
  function.scaling = scaling;
  driver_.handle(ScalingChanged{function.pool, pool_spec(function).settings.scaling});
}

Result<> ScalingChanges::restore(const ScalingRecord& record) {
  const FunctionPtr function = catalog_.by_pool(record.pool);
  if (!function) return Ok{};  // a variant that was given up since
  auto scaling = scaling_with(*function, record.scaling_json);
  if (!scaling) return std::move(scaling).error();
  apply(*function, *scaling);
  return Ok{};
}

Result<std::string> ScalingChanges::stats_json(std::string_view app, std::string_view function,
                                               std::string_view variant) const {
  const auto found = find(app, function, variant);
  if (!found) return found.error();
  const PoolView pool = driver_.engine().pool((*found)->pool).value_or(PoolView{});
  const std::int64_t ready = pool.idle + pool.busy;
  const std::int64_t of_slot = std::max(1u, (*found)->spec.settings.batching.max_batch_size);
  const std::int64_t room = ready * (*found)->scaling.max_inputs * of_slot;
  return dump_json({{"backlog", pool.waiting + pool.delayed},
                    {"running_inputs", pool.running},
                    {"containers", ready},
                    {"starting_containers", pool.starting},
                    {"input_headroom", std::max<std::int64_t>(0, room - pool.running)}});
}

}  // namespace ember
