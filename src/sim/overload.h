// A visitor made of lambdas.
#pragma once

namespace ember {

template <class... Ts>
struct Overload : Ts... {
  using Ts::operator()...;
};

}  // namespace ember
