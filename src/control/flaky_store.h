// For tests of control: a disk that takes no writes for a while.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/store.h"

namespace ember {

// A store that fails as long as it is told to.
class FlakyStore final : public Store {
 public:
  explicit FlakyStore(std::unique_ptr<Store>& real) : real_(real) {}

  void apply(Batch batch, std::function<void(Result<>)> done) override {
    if (full) return done({ErrorCode::storage_failed, "state.db: the disk is full"});
    largest = std::max(largest, batch.size());
    real_->apply(std::move(batch), std::move(done));
  }
  void query_cost(CostQuery query,
                  std::function<void(Result<std::vector<CostRow>>)> done) override {
    real_->query_cost(std::move(query), std::move(done));
  }
  void query_versions(AppId app,
                      std::function<void(Result<std::vector<VersionRecord>>)> done) override {
    real_->query_versions(app, std::move(done));
  }
  void query_version(AppId app, std::uint32_t version,
                     std::function<void(Result<VersionRecord>)> done) override {
    real_->query_version(app, version, std::move(done));
  }
  void query_call(CallId call, std::function<void(Result<StoredCall>)> done) override {
    real_->query_call(call, std::move(done));
  }
  void query_call_by_key(WorkspaceId workspace, std::string key,
                         std::function<void(Result<StoredCall>)> done) override {
    real_->query_call_by_key(workspace, std::move(key), std::move(done));
  }
  void query_calls(CallQuery query,
                   std::function<void(Result<std::vector<StoredCall>>)> done) override {
    real_->query_calls(std::move(query), std::move(done));
  }
  void query_waiting_webhooks(
      WaitingWebhooks query,
      std::function<void(Result<std::vector<StoredWebhook>>)> done) override {
    real_->query_waiting_webhooks(std::move(query), std::move(done));
  }
  void query_webhooks(WebhookQuery query,
                      std::function<void(Result<std::vector<StoredWebhook>>)> done) override {
    real_->query_webhooks(query, std::move(done));
  }
  void query_webhook(WebhookId webhook, std::function<void(Result<StoredWebhook>)> done) override {
    real_->query_webhook(webhook, std::move(done));
  }
  void query_children(std::vector<CallId> parents, std::size_t limit,
                      std::function<void(Result<std::vector<StoredCall>>)> done) override {
    real_->query_children(std::move(parents), limit, std::move(done));
  }
  void query_container(ContainerId container,
                       std::function<void(Result<ContainerRecord>)> done) override {
    if (mute) return done({ErrorCode::storage_failed, "state.db: input/output error"});
    real_->query_container(container, std::move(done));
  }

  SharedStore& shared() override { return shared_; }

  bool full = false;
  bool mute = false;        // of what containers there were
  std::size_t largest = 0;  // of the batches it took

 private:
  struct FlakyShared final : SharedStore {
    explicit FlakyShared(FlakyStore& its_owner) : owner(its_owner) {}
    void change(SharedChange change, Done done) override {
      if (owner.full) return done({ErrorCode::storage_failed, "state.db: the disk is full"});
      owner.real_->shared().change(std::move(change), std::move(done));
    }
    void look(SharedQuery query, Done done) override {
      owner.real_->shared().look(std::move(query), std::move(done));
    }
    FlakyStore& owner;
  };

  std::unique_ptr<Store>& real_;
  FlakyShared shared_{*this};
};

}  // namespace ember
