// Dictionaries and queues for the gateway's tests: remembers what was asked, and has the items that
// it was told.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "control/shared_service.h"

namespace ember {

class FakeShared final : public SharedService {
 public:
  std::vector<std::string> asked;  // "get dict settings a"
  std::optional<Error> refusal;
  std::vector<SharedItem> items;  // of every look and take
  std::vector<SharedItem> given;  // by puts
  bool is_full = false;
  bool takes_wait = false;
  std::vector<OnItems> getters;  // that wait
  int places_left = 0;           // by getters

  WorkspaceId workspace_of(KeyId) const override { return kDefaultWorkspace; }
  void list(WorkspaceId, SharedKind kind, Done done) override { answer("list", kind, "", done); }
  void create(WorkspaceId, SharedKind kind, std::string request_json, Done done) override {
    answer("create", kind, request_json, done);
  }
  void show(SharedName name, std::optional<std::string> partition, Done done) override {
    answer("show", name.kind, name.name + " in " + partition.value_or("all"), done);
  }
  void remove(SharedName name, Done done) override { answer("remove", name.kind, name.name, done); }
  void clear(SharedName name, std::optional<std::string> partition, Done done) override {
    answer("clear", name.kind, name.name + " in " + partition.value_or("all"), done);
  }
  Result<> heartbeat(const SharedName& name) override {
    note("heartbeat", name.kind, name.name);
    if (refusal) return *refusal;
    return Ok{};
  }
  void page(SharedPage page, OnItems done) override {
    note("page", page.of.kind,
         page.of.name + " in '" + page.partition + "' after '" + page.after + "' limit " +
             std::to_string(page.limit));
    tell(done);
  }
  void put(SharedName dict, std::vector<SharedItem> entries, WhenThere when_there,
           std::function<void(Result<std::int64_t>)> done) override {
    note(when_there == WhenThere::skip ? "put new" : "put", dict.kind, dict.name);
    if (refusal) return done(*refusal);
    given = std::move(entries);
    done(static_cast<std::int64_t>(given.size()));
  }
  void get(SharedName dict, std::string key, Values values, OnItems done) override {
    note(values == Values::read ? "get" : "find", dict.kind, dict.name + " " + key);
    tell(done);
  }
  void pop(SharedName dict, std::string key, OnItems done) override {
    note("pop", dict.kind, dict.name + " " + key);
    tell(done);
  }
  void put_items(QueuePutRequest request,
                 std::function<void(Result<QueuePutOutcome>)> done) override {
    note("put", request.queue.kind,
         request.queue.name + " in '" + request.partition + "' for " +
             std::to_string(request.time_to_live.whole_ms()));
    if (refusal) return done(*refusal);
    given = std::move(request.items);
    done(QueuePutOutcome{is_full, static_cast<std::int64_t>(given.size())});
  }
  std::shared_ptr<void> take(QueueTakeRequest request, OnItems done) override {
    note("take", request.queue.kind,
         request.queue.name + " in '" + request.partition + "' " + std::to_string(request.most) +
             " within " + std::to_string(request.patience.whole_ms()));
    if (!takes_wait) return tell(done), nullptr;
    getters.push_back(std::move(done));
    return {this, [this](void*) { ++places_left; }};
  }

 private:
  void note(const char* what, SharedKind kind, const std::string& whom) {
    asked.push_back(std::string(what) + " " + std::string(shared_kind_name(kind)) + " " + whom);
  }
  void answer(const char* what, SharedKind kind, const std::string& whom, const Done& done) {
    note(what, kind, whom);
    if (refusal) return done(*refusal);
    done(std::string("{}"));
  }
  void tell(const OnItems& done) {
    if (refusal) return done(*refusal);
    done(SharedItems{items, false});
  }
};

}  // namespace ember
