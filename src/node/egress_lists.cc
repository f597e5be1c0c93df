#include "node/egress_lists.h"

#include <spdlog/spdlog.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <optional>
#include <set>
#include <utility>

#include "node/dns_server.h"
#include "node/listed_routes.h"

namespace ember {
namespace {

constexpr std::size_t kMostLogged = 64;   // names of one container that are told of
constexpr std::size_t kMostAsking = 512;  // questions of all: each takes a descriptor

using Answer = std::function<void(std::string)>;

}  // namespace

class EgressLists::List : public std::enable_shared_from_this<List> {
 public:
  List(EgressLists& all, std::string who, Destinations destinations, ListedRoutes routes)
      : all_(all),
        who_(std::move(who)),
        destinations_(std::move(destinations)),
        routes_(std::make_shared<ListedRoutes>(std::move(routes))) {}

  // Questions that come while a list ends find none.
  void answer_for_names() {
    server_.emplace(all_.loop_, routes_->take_datagrams(), routes_->take_connections(),
                    [weak = weak_from_this()](const DnsQuestion& question, Answer answer) {
                      if (const auto self = weak.lock()) self->take(question, std::move(answer));
                    });
  }

 private:
  void take(const DnsQuestion& question, Answer answer) {
    if (question.fault != DnsCode::no_error) return answer(write_answer(question, question.fault));
    if (!is_listed(question.name)) {
      log_once(question.name, "is not listed");
      return answer(write_answer(question, DnsCode::no_such_name));
    }
    if (question.is_for_other_addresses()) {
      return answer(write_answer(question, DnsCode::no_error));
    }
    if (all_.asking_ >= kMostAsking) return answer(write_answer(question, DnsCode::server_failure));
    ++all_.asking_;
    ask_name_servers(all_.loop_, all_.servers_, question,
                     [&all = all_, alive = std::weak_ptr(all_.alive_), weak = weak_from_this(),
                      question, answer = std::move(answer)](std::optional<DnsAnswer> found) {
                       if (!alive.expired()) --all.asking_;
                       const auto self = weak.lock();
                       if (self) self->found(question, std::move(found), answer);
                     });
  }

  // A name with a character that is written with a backslash is nobody's host.
  bool is_listed(const std::string& name) const {
    return name.find('\\') == std::string::npos && destinations_.has(name);
  }

  void found(const DnsQuestion& question, std::optional<DnsAnswer> found, const Answer& answer) {
    if (!found) return answer(write_answer(question, DnsCode::server_failure));
    if (found->addresses.empty()) return answer(pass_on(std::move(found->bytes), question));
    // The loop does not wait for the kernel's routes.
    all_.worker_.post([weak = weak_from_this(), &loop = all_.loop_, routes = routes_, question,
                       answer, found = std::move(*found)]() mutable {
      auto opened = routes->open(found.addresses);
      boost::asio::post(loop, [weak, question, answer, bytes = std::move(found.bytes),
                               opened = std::move(opened)]() mutable {
        const auto self = weak.lock();
        if (self) self->opened(question, std::move(bytes), opened, answer);
      });
    });
  }

  // A listed name may be led by its owner to where no container may send: then it leads nowhere.
  void opened(const DnsQuestion& question, std::string bytes, const Result<>& opened,
              const Answer& answer) {
    if (opened.ok()) return answer(pass_on(std::move(bytes), question));
    log_once(question.name, "leads nowhere: " + opened.error().message);
    const bool is_closed = opened.error().code == ErrorCode::permission_denied;
    answer(write_answer(question, is_closed ? DnsCode::no_such_name : DnsCode::server_failure));
  }

  void log_once(const std::string& name, const std::string& why) {
    if (logged_.size() >= kMostLogged || !logged_.insert(name).second) return;
    spdlog::warn("{}: network: {} {}{}", who_, name, why,
                 logged_.size() == kMostLogged ? "; more names are not told of" : "");
  }

  EgressLists& all_;
  const std::string who_;
  const Destinations destinations_;
  // Shared: with the worker, whose they are after the start.
  const std::shared_ptr<ListedRoutes> routes_;
  std::optional<DnsServer> server_;
  std::set<std::string> logged_;
};

EgressLists::EgressLists(boost::asio::io_context& loop, DnsServers servers)
    : loop_(loop), servers_(std::move(servers)) {}

EgressLists::~EgressLists() = default;

void EgressLists::begin(const std::string& record, std::string who, const WayOut& way,
                        Destinations destinations, std::function<void(Result<>)> done) {
  lists_[record] = nullptr;
  // The loop has something to wait for.
  const auto work = boost::asio::make_work_guard(loop_);
  worker_.post([this, work, record, who = std::move(who), way,
                destinations = std::move(destinations), done = std::move(done)]() mutable {
    auto narrowed = ListedRoutes::narrow(way, destinations.networks);
    boost::asio::post(loop_, [this, alive = std::weak_ptr(alive_), record, who = std::move(who),
                              destinations = std::move(destinations),
                              narrowed = std::move(narrowed), done = std::move(done)]() mutable {
      if (alive.expired()) return;
      done(narrowed.ok()
               ? keep(record, std::make_shared<List>(*this, std::move(who), std::move(destinations),
                                                     std::move(*narrowed)))
               : forget(record, std::move(narrowed).error()));
    });
  });
}

Result<> EgressLists::keep(const std::string& record, std::shared_ptr<List> list) {
  const auto place = lists_.find(record);
  if (place == lists_.end()) return {ErrorCode::cancelled, "the network was ended"};
  place->second = std::move(list);
  place->second->answer_for_names();
  return Ok{};
}

Error EgressLists::forget(const std::string& record, Error why) {
  lists_.erase(record);
  return why;
}

}  // namespace ember
