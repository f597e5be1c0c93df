// The class of isolation that isolates nothing: the runner as a plain process of this user, in a
// session of its own. For development, where the machine allows no namespaces.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

#include "node/isolation.h"

namespace ember {

// `python_directory` holds the packages that runners import.
std::unique_ptr<Isolation> make_process_isolation(boost::asio::io_context& loop, NodeId node,
                                                  std::string python_directory);

}  // namespace ember
