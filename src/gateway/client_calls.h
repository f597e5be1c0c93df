// The calls that clients wait for: each holds a connection and the bytes of its arguments. The
// server has only so many of both, and gives each caller as much as four times what is still free:
// one alone may have four fifths of it all, and another that comes finds room all the same.
//
// What calls may hold is less than there are connections, so that there is always one for a look
// at the server's health and for the commands that mend things.
#pragma once

#include <cstddef>
#include <optional>

#include "base/id_index.h"
#include "base/slab.h"
#include "control/control.h"
#include "model/ids.h"

namespace ember {

class ClientCalls {
 public:
  struct Limits {
    std::size_t calls = 0;
    std::size_t bytes = 0;
  };

  explicit ClientCalls(Limits limits) : limits_(limits) {}

  // Why the caller may not hold one more call with so many bytes; nothing if it may.
  std::optional<CallFailure> refusal(KeyId caller, std::size_t bytes) const;
  void add(KeyId caller, std::size_t bytes);
  void remove(KeyId caller, std::size_t bytes);

 private:
  struct Holder {
    std::size_t calls = 0, bytes = 0;
  };

  const Limits limits_;
  Holder all_;
  Slab<Holder> holders_;  // of callers that hold something
  IdIndex<KeyId> by_caller_;
};

}  // namespace ember
