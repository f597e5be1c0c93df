#include "control/strangers.h"

#include <algorithm>
#include <utility>

#include "control/json.h"

namespace ember {
namespace {

constexpr std::size_t kMaxLabelsBytes = 64u << 10;

Awaited from_its_beginning(const ContainerExit& exit, FunctionPtr function) {
  const ContainerRecord record{
      exit.container, function->pool, function->app, function->spec.name, exit.started, Time{}, ""};
  return {record, exit.started, 0, std::move(function)};
}

}  // namespace

void Strangers::identify(const ContainerExit& exit, Done done) {
  store_.query_container(exit.container,
                         background_.to_loop([this, exit, done = std::move(done)](
                                                 const Result<ContainerRecord>& found) mutable {
                           if (found.ok()) return done({ErrorCode::conflict, "it is on record"});
                           if (found.error().code != ErrorCode::not_found)
                             return done(found.error());
                           find_function(exit, std::move(done));
                         }));
}

void Strangers::find_function(const ContainerExit& exit, Done done) {
  const auto labels = labels_of(exit);
  if (!labels.ok()) return done(labels.error());
  if (FunctionPtr function = catalog_.by_pool(labels->pool)) {
    return done(from_its_beginning(exit, std::move(function)));
  }
  const App* app = catalog_.find_app(labels->app);
  if (!app) return done(AppCatalog::no_such_app(labels->app));
  store_.query_version(app->record.id, labels->version,
                       background_.to_loop([this, exit, labels = *labels, done = std::move(done)](
                                               const Result<VersionRecord>& version) {
                         if (!version.ok()) return done(version.error());
                         done(of_version(exit, labels, *version));
                       }));
}

Result<Awaited> Strangers::of_version(const ContainerExit& exit, const Labels& labels,
                                      const VersionRecord& version) {
  auto functions = catalog_.functions_of(version, labels.app);
  if (!functions) return std::move(functions).error();
  const auto found = std::ranges::find_if(*functions, [&](const FunctionPtr& function) {
    return labels.variant ? function->spec.name == labels.function : function->pool == labels.pool;
  });
  if (found == functions->end()) {
    return {ErrorCode::not_found, "its function is not of that version"};
  }
  auto function = labels.variant ? variant_of(**found, labels) : *found;
  if (!function) return std::move(function).error();
  catalog_.remember({*function});
  return from_its_beginning(exit, *function);
}

Result<FunctionPtr> Strangers::variant_of(const Function& deployed, const Labels& labels) const {
  return catalog_.variant_of(deployed,
                             {*labels.variant, deployed.app, deployed.version, labels.function,
                              variant_line(deployed.line->id, labels.difference), labels.pool,
                              labels.difference.parameters, labels.difference.options, Time{}});
}

Result<Strangers::Labels> Strangers::labels_of(const ContainerExit& exit) {
  const auto document = parse_json(exit.labels_json, "labels", kMaxLabelsBytes);
  const JsonValue value = document.ok() ? *document : JsonValue();
  Fields fields(value, "");
  const auto pool = PoolId::parse(fields.text_or("pool", ""));
  Labels labels{fields.text_or("app", ""),
                static_cast<std::uint32_t>(fields.integer_or("version", 0)),
                pool.value_or(PoolId{}),
                fields.text_or("function", ""),
                VariantId::parse(fields.text_or("variant", "")),
                {fields.text_or("class_arguments", "{}"), fields.text_or("options", "{}")}};
  if (!labels.pool) return {ErrorCode::not_found, "its labels name no function"};
  return labels;
}

}  // namespace ember
