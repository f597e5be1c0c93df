// The node of this machine, spoken to over its Unix socket.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

#include "node/node_client.h"

namespace ember {

// Connects when the observer is set, and again whenever the connection breaks. While there is no
// connection a start is refused, a build fails as unavailable, and stop, interrupt and
// acknowledge_exit are dropped: the next hello says what there is to do. A start or a build that is
// too long for a message, or comes while the node is far behind in its reading, ends the same way:
// one app must not cost all others the connection.
// Tells the node of the directory of volumes, if there is one by the time that it connects.
std::unique_ptr<NodeClient> make_remote_node(boost::asio::io_context& loop, std::string socket_path,
                                             std::string volumes_path = {});

}  // namespace ember
