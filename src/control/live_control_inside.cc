// What operators ask of single containers.
#include <algorithm>

#include "control/parts.h"

namespace ember {
namespace {

constexpr std::size_t kMaxAnswerBytes = 4u << 20;

}  // namespace

Result<std::unique_ptr<MessageSession>> LiveControl::open_exec(ContainerId container,
                                                               MessageClient& client) {
  return parts_->execs.open(container, client);
}

void LiveControl::container_processes_json(ContainerId container, Done done) {
  inspect(container, ProcessQuery::processes, std::move(done));
}

void LiveControl::container_stacks_json(ContainerId container, Done done) {
  inspect(container, ProcessQuery::stacks, std::move(done));
}

// What it says came out of a container's own memory: it is held against the bounds of JSON.
void LiveControl::inspect(ContainerId container, ProcessQuery what, Done done) {
  const Container* found = parts_->containers.find(container);
  if (found == nullptr || found->exited) return done(Containers::no_such_container(container));
  const std::uint64_t question = ++parts_->last_inspection;
  parts_->inspections[question] = [done = std::move(done)](Result<std::string> answer) {
    if (!answer) return done(std::move(answer).error());
    const auto document = parse_json(*answer, "the node's answer", kMaxAnswerBytes);
    if (!document) return done({ErrorCode::internal, document.error().message});
    done(dump_json(*document));
  };
  parts_->node.inspect(question, container, what);
}

Result<std::string> LiveControl::stop_container(ContainerId id, ContainerStop how) {
  const auto view = parts_->driver.engine().container(id);
  if (!view) return Containers::no_such_container(id);
  const bool now = how == ContainerStop::now;
  parts_->driver.handle(ContainerUnwanted{id, now ? StopWanted::now : StopWanted::when_empty});
  return dump_json({{"container_id", id.text()}, {"inputs", view->inputs}});
}

void LiveControl::open_shell(std::string app, std::string function, Done done) {
  if (auto open = refuse_while_draining(); !open) return done(std::move(open).error());
  parts_->deployments.open_shell(app, function, std::move(done));
}

void LiveControl::app_of_container(ContainerId container, Done done) {
  if (const Container* found = parts_->containers.find(container)) {
    return done(found->function->app_name);
  }
  parts_->store.query_container(
      container, parts_->background.to_loop([this, container, done = std::move(done)](
                                                const Result<ContainerRecord>& record) {
        if (!record) return done(record.error());
        for (const auto& [name, app] : parts_->catalog.apps()) {
          if (app.record.id == record->app) return done(name);
        }
        done({ErrorCode::not_found, "the app of " + container.text() + " is not known any more"});
      }));
}

}  // namespace ember
