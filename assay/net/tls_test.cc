// TLS against a real server on loopback, with a certificate made for the test: trusted, unknown, and for another name.
#include <thread>

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>

#include "assay/base/files.h"
#include "assay/base/test_files.h"
#include "assay/net/http_client.h"
#include "assay/net/websocket_client.h"

namespace assay {
namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;

struct Identity {
  std::string certificate, key;  // PEM
};

std::string pem(auto write) {
  BIO* memory = BIO_new(BIO_s_mem());
  write(memory);
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  std::string out(data, static_cast<std::size_t>(size));
  BIO_free(memory);
  return out;
}

Identity make_identity(const std::string& name) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* made = X509_new();
  X509_set_version(made, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
  X509_gmtime_adj(X509_getm_notBefore(made), -3600);
  X509_gmtime_adj(X509_getm_notAfter(made), 3600);
  X509_set_pubkey(made, key);
  X509_NAME* subject = X509_get_subject_name(made);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("assay test"), -1, -1, 0);
  X509_set_issuer_name(made, subject);
  X509_EXTENSION* names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, ("DNS:" + name).c_str());
  X509_add_ext(made, names, -1);
  X509_EXTENSION_free(names);
  X509_sign(made, key, EVP_sha256());
  Identity out{pem([&](BIO* to) { PEM_write_bio_X509(to, made); }),
               pem([&](BIO* to) { PEM_write_bio_PrivateKey(to, key, nullptr, nullptr, 0, nullptr, nullptr); })};
  X509_free(made);
  EVP_PKEY_free(key);
  return out;
}

// Answers each connection with one small HTTP response.
class TlsServer {
 public:
  explicit TlsServer(const Identity& identity) : acceptor_(context_, {asio::ip::address_v4::loopback(), 0}) {
    tls_.use_certificate(asio::buffer(identity.certificate), asio::ssl::context::pem);
    tls_.use_private_key(asio::buffer(identity.key), asio::ssl::context::pem);
    thread_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested()) serve();
    });
  }
  ~TlsServer() {
    thread_.request_stop();
    boost::system::error_code ignored;
    asio::ip::tcp::socket waker(context_);
    waker.connect(acceptor_.local_endpoint(), ignored);
  }
  std::string host() const { return "localhost:" + std::to_string(acceptor_.local_endpoint().port()); }

 private:
  void serve() {
    boost::system::error_code error;
    asio::ssl::stream<asio::ip::tcp::socket> peer(context_, tls_);
    acceptor_.accept(peer.lowest_layer(), error);
    if (!error) peer.handshake(asio::ssl::stream_base::server, error);
    asio::streambuf request;
    if (!error) asio::read_until(peer, request, "\r\n\r\n", error);
    if (!error) asio::write(peer, asio::buffer(std::string("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")), error);
    if (!error) peer.shutdown(error);
  }

  asio::io_context context_;
  asio::ip::tcp::acceptor acceptor_;
  asio::ssl::context tls_{asio::ssl::context::tls_server};
  std::jthread thread_;
};

Result<HttpResponse> get(const std::string& url, const std::string& ca_file) {
  HttpLimits limits;
  limits.ca_file = ca_file;
  return http_send({"GET", url, {}, ""}, limits, {Deadline::after(system_clock(), 5s), {}}, system_clock());
}

TEST(Tls, ATrustedServerIsReadAndAStrangerIsNot) {
  const Identity identity = make_identity("localhost");
  const TestFolder folder;
  const std::string file = folder.path("ca.pem");
  ASSERT_TRUE(write_file(file, identity.certificate).has_value());
  const TlsServer server(identity);
  const auto known = get("https://" + server.host() + "/", file);
  ASSERT_TRUE(known.has_value()) << known.error().text();
  EXPECT_EQ(known->body, "secret");
  const auto stranger = get("https://" + server.host() + "/", "");
  ASSERT_FALSE(stranger.has_value());
  EXPECT_EQ(stranger.error().code, ErrorCode::refused);
  EXPECT_NE(stranger.error().message.find("self-signed certificate"), std::string::npos) << stranger.error().message;
  EXPECT_NE(stranger.error().remedy.find("SSL_CERT_FILE"), std::string::npos) << stranger.error().remedy;
  EXPECT_EQ(get("https://" + server.host() + "/", "/nowhere.pem").error().code, ErrorCode::io);
  WebSocketLimits limits;
  limits.ca_file = file;
  const auto socket =
      WebSocketClient::connect("wss://" + server.host() + "/", {Deadline::after(system_clock(), 5s), {}}, system_clock(), limits);
  ASSERT_FALSE(socket.has_value());
  EXPECT_NE(socket.error().message.find("answered 200"), std::string::npos) << socket.error().message;  // TLS held, no upgrade
}

TEST(Tls, ACertificateForAnotherNameIsRefused) {
  const Identity identity = make_identity("other.example");
  const TestFolder folder;
  const std::string file = folder.path("other.pem");
  ASSERT_TRUE(write_file(file, identity.certificate).has_value());
  const TlsServer server(identity);
  const auto got = get("https://" + server.host() + "/", file);
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().code, ErrorCode::refused);
  EXPECT_NE(got.error().message.find("it is for another name"), std::string::npos) << got.error().message;
}

}  // namespace
}  // namespace assay
