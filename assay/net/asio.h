#pragma once
// Private to net: the Boost parts that everything here uses, and blocking calls over asynchronous operations.

#include <chrono>
#include <string>
#include <string_view>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/tcp_stream.hpp>

#include "assay/base/clock.h"
#include "assay/net/url.h"

namespace assay::net {

namespace asio = boost::asio;
namespace beast = boost::beast;
using AsioError = boost::system::error_code;
using Tcp = asio::ip::tcp;

// Runs asynchronous operations one after the other on the caller's thread, under one deadline and one stop token.
class Blocking {
 public:
  Blocking(asio::io_context& context, const Wait& wait, Clock& clock) : context_(context), wait_(wait), clock_(clock) {}

  // `start(done)` begins the operation, which ends with done(error). On time-out or stop, `abort()` must make it end soon
  // (close the socket): its handlers still run here, so that nothing refers to a frame that has gone.
  template <class Start, class Abort>
  Result<AsioError> run(std::string_view what, Start&& start, Abort&& abort) {
    bool ended = false;
    AsioError outcome;
    ASSAY_CHECK(wait_.check(clock_, what));
    const std::stop_callback wake(wait_.stop, [this] { asio::post(context_, [] {}); });
    start([&ended, &outcome](AsioError error) {
      outcome = error;
      ended = true;
    });
    while (!ended) {  // ends: with the operation, at the deadline or on a stop
      if (auto checked = wait_.check(clock_, what); !checked) {
        abort();
        while (!ended) turn(std::chrono::milliseconds(100));
        return std::unexpected(std::move(checked).error());
      }
      turn(std::min(wait_.deadline.left(clock_), std::chrono::nanoseconds(std::chrono::milliseconds(100))));
    }
    return outcome;
  }

 private:
  void turn(std::chrono::nanoseconds at_most) {
    context_.restart();
    context_.run_one_for(at_most);
  }

  asio::io_context& context_;
  const Wait& wait_;
  Clock& clock_;
};

// Resolves and connects. "localhost" and addresses never reach the system resolver.
Result<void> connect_tcp(Blocking& blocking, beast::tcp_stream& stream, const Url& url);

// Error of a peer, with host and port and what was going on.
Error peer_error(const Url& url, std::string_view doing, AsioError error);

}  // namespace assay::net
