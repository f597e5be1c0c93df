// What code in a container asks of dictionaries and queues, over the runner's own socket.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "control/containers.h"
#include "control/json.h"
#include "control/shared_service.h"

namespace ember {

// What a request's head says, and the bytes behind it.
struct SharedRequest {
  SharedName name;
  std::string action;
  std::string key;
  std::string partition;
  bool has_partition = false;
  bool skip_if_exists = false;
  bool ephemeral = false;
  bool values = false;
  std::string after;
  std::int64_t limit = 1000;
  std::int64_t count = 1;
  std::int64_t wait_ms = 0;
  std::int64_t ttl_ms = 0;  // 0: as it is where nobody says
  std::string bytes;
};

// Of a Shared frame's body, which is taken.
Result<SharedRequest> parse_shared_request(std::string body);

class SharedRequests {
 public:
  SharedRequests(SharedService& service, Containers& containers)
      : service_(service), containers_(containers) {}

  // A Shared frame. The answer goes to the container's runner, as that of a call: a document, or
  // items as shared_batch.h has them.
  void start(ContainerId container, const FrameHeader& header, std::string& body);
  // A CallCancel frame: nobody waits for that answer any more.
  void cancel(ContainerId container, const FrameHeader& header);
  // Nobody in it waits for anything any more.
  void runner_gone(ContainerId container);

 private:
  using Key = std::pair<ContainerId, std::uint64_t>;  // and the runner's own number

  void perform(const Key& key, SharedRequest request);
  void perform_on_all(const Key& key, const SharedRequest& request);
  void perform_on_dict(const Key& key, SharedRequest request);
  void perform_on_queue(const Key& key, SharedRequest request);
  void take(const Key& key, const SharedRequest& request);
  SharedService::Done tell_document(const Key& key);
  SharedService::OnItems tell_items(const Key& key, SharedKind kind);
  // Counts one that waits for its answer, until whoever is to give it lets go of this.
  std::shared_ptr<void> count_one();
  void reply(const Key& key, FrameType type, BodyFormat format, std::string body);
  void refuse(const Key& key, const CallFailure& failure);

  SharedService& service_;
  Containers& containers_;
  std::map<Key, std::shared_ptr<void>> waiting_;  // for items
  // Shared with what counts them, which may outlive this.
  std::shared_ptr<std::size_t> asked_ = std::make_shared<std::size_t>(0);
};

}  // namespace ember
