// Takes questions for names at two sockets, of datagrams and of connections, and brings the answers
// back. What asks is a stranger: there is a bound to its questions that wait for an answer, to its
// connections and to how much of it is heard at a time. What is over them waits, or is lost.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "node/dns_message.h"
#include "node/unique_fd.h"

namespace ember {

class DnsServer {
 public:
  // Calls `answer` once, sooner or later, unless the server has gone.
  using OnQuestion =
      std::function<void(const DnsQuestion& question, std::function<void(std::string)> answer)>;

  DnsServer(boost::asio::io_context& loop, UniqueFd datagrams, UniqueFd connections,
            OnQuestion on_question);
  ~DnsServer();

 private:
  class Sockets;
  // Handlers that still sit in the loop keep it alive after the server itself has gone.
  std::shared_ptr<Sockets> sockets_;
};

}  // namespace ember
