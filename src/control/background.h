// Work off the loop: blocking work on a pool of threads, and the way back. What comes back after
// the owner has gone is dropped.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <type_traits>
#include <utility>

namespace ember {

class Background {
 public:
  Background(boost::asio::io_context& loop, std::size_t threads) : loop_(loop), pool_(threads) {}
  // Waits for work that has begun; drops what has not, and every answer on its way.
  ~Background() {
    alive_.reset();
    pool_.stop();
    pool_.join();
  }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  // Runs `work` on the pool and `then` with its result on the loop.
  template <class Work, class Then>
  void run(Work work, Then then) {
    boost::asio::post(pool_, [work = std::move(work), then = to_loop(std::move(then))]() mutable {
      then(work());
    });
  }

  // `then` as a function for any thread that has it run on the loop with the same arguments.
  template <class Then>
  auto to_loop(Then then) {
    // Shared, so that the whole can be copied into a std::function whatever `then` holds.
    auto shared = std::make_shared<Then>(std::move(then));
    return [loop = &loop_, shared = std::move(shared),
            alive = std::weak_ptr(alive_)](auto&&... results) {
      if (alive.expired()) return;
      boost::asio::post(*loop, [shared, alive, ... values = std::move(results)]() mutable {
        if (!alive.expired()) (*shared)(std::move(values)...);
      });
    };
  }

  // Runs `task` on the loop, not before this returns.
  template <class Task>
  void later(Task task) {
    to_loop(std::move(task))();
  }

 private:
  boost::asio::io_context& loop_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  // weak owners: answers on their way
  boost::asio::thread_pool pool_;
};

}  // namespace ember
