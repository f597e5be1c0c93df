// Containers that reach listed destinations alone: each has routes to these and no others
// (listed_routes.h), and a name server of the node's in its own namespace. That one answers for
// listed names only, asks the machine's name servers for them, and opens a route to each address
// before it tells of it. So a name is a destination for as long as the container lives, and what it
// leads to is never more than is open to other containers: addresses in closed networks are not
// told.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "model/network_policy.h"
#include "node/dns_asker.h"
#include "node/network_maker.h"
#include "node/network_worker.h"

namespace ember {

class EgressLists {
 public:
  // Whom to ask for names.
  EgressLists(boost::asio::io_context& loop, DnsServers servers);
  ~EgressLists();

  // Narrows a network down to the destinations, as it was made or as an earlier life of the node
  // has narrowed it, and answers for its names until end(). `who` is for the log. Calls back once,
  // from the loop; the refusal leaves the network at least as narrow.
  void begin(const std::string& record, std::string who, const WayOut& way,
             Destinations destinations, std::function<void(Result<>)> done);
  // Closes what is open in the network's namespace; the routes end with that.
  void end(const std::string& record) { lists_.erase(record); }
  void end_all() { lists_.clear(); }

 private:
  class List;

  Result<> keep(const std::string& record, std::shared_ptr<List> list);
  Error forget(const std::string& record, Error why);

  boost::asio::io_context& loop_;
  const DnsServers servers_;
  // Shared: with questions on their way. Null: it begins.
  std::map<std::string, std::shared_ptr<List>> lists_;
  std::size_t asking_ = 0;  // questions that wait for a name server
  // Callbacks that still sit in the loop ask it whether this has gone.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  NetworkWorker worker_;  // routes are its own
};

}  // namespace ember
