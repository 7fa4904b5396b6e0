// Copyright (c) 2026 The rtmfp authors
// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The works of examples/bench on another implementation, https://github.com/zenomt/rtmfp-cpp, by
// its public API. Same works, same options, same figures; see benches/README.md for how to build
// and run it. It needs Linux.
//
//   rtmfp_cpp_bench bulk [--mode hmac-sseq|checksum] [--message 8192] [--seconds 3]
//   rtmfp_cpp_bench messages [--mode …] [--size 100] [--seconds 3]
//   rtmfp_cpp_bench pingpong [--mode …] [--size 100] [--seconds 3]
//   rtmfp_cpp_bench handshakes [--group 2|14|16] [--concurrency 64] [--count N]
//   rtmfp_cpp_bench idle [--sessions 1000] [--group 2] [--settle 25] [--window 10]
// and for each: [--runs 5] [--json]

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <time.h>
#include <unistd.h>
#include <vector>

#include "rtmfp/FlashCryptoAdapter_OpenSSL.hpp"
#include "rtmfp/Performer.hpp"
#include "rtmfp/PerformerPosixPlatformAdapter.hpp"
#include "rtmfp/RunLoops.hpp"
#include "rtmfp/rtmfp.hpp"

using namespace com::zenomt;
using namespace com::zenomt::rtmfp;

namespace {

const size_t BUFFER = 4 << 20; // of a flow, at either end
const size_t WARM_UP = 100;    // round trips that do not count

double cpuSeconds()
{
	timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

double clockSeconds()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

long residentBytes()
{
	long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if(not f or fscanf(f, "%ld %ld", &size, &resident) != 2)
		exit(3);
	fclose(f);
	return resident * sysconf(_SC_PAGESIZE);
}

void fail(const std::string &why)
{
	fprintf(stderr, "rtmfp_cpp_bench: %s\n", why.c_str());
	exit(1);
}

// --- options

struct Options {
	std::map<std::string, std::string> values;

	Options(int argc, char **argv)
	{
		for(int i = 2; i < argc; i++)
		{
			std::string name = argv[i];
			if(name == "--json")
				values[name] = "1";
			else if(name.compare(0, 2, "--") == 0 and i + 1 < argc)
				values[name] = argv[++i];
			else
				fail("what is " + name + "?");
		}
	}

	std::string text(const char *name, const char *otherwise) const
	{
		auto it = values.find(name);
		return it == values.end() ? otherwise : it->second;
	}

	double number(const char *name, double otherwise) const
	{
		auto it = values.find(name);
		return it == values.end() ? otherwise : atof(it->second.c_str());
	}

	bool hmac() const
	{
		auto mode = text("--mode", "hmac-sseq");
		if(mode != "hmac-sseq" and mode != "checksum")
			fail("modes are hmac-sseq and checksum");
		return mode == "hmac-sseq";
	}
};

// --- report

struct Report {
	struct Figure { std::string field, name; std::vector<double> runs; };
	std::string work;
	std::vector<Figure> figures;

	void add(const char *field, const char *name, double value)
	{
		for(auto &each : figures)
			if(each.name == name)
				return each.runs.push_back(value);
		figures.push_back({field, name, {value}});
	}

	static double median(std::vector<double> v)
	{
		std::sort(v.begin(), v.end());
		return v.empty() ? NAN : (v[(v.size() - 1) / 2] + v[v.size() / 2]) / 2;
	}

	void print(bool json) const
	{
		printf("\n%s (rtmfp-cpp)\n  %-44s %12s %25s %5s\n", work.c_str(), "", "median", "min - max", "runs");
		for(auto &each : figures)
		{
			char range[80];
			auto ends = std::minmax_element(each.runs.begin(), each.runs.end());
			snprintf(range, sizeof(range), "%.5g - %.5g", *ends.first, *ends.second);
			printf("  %-44s %12.5g %25s %5zu\n", each.name.c_str(), median(each.runs), range, each.runs.size());
		}
		if(json)
		{
			printf("{\"work\":\"%s\"", work.c_str());
			for(auto &each : figures)
				if(each.field.size())
					printf(",\"%s\":%.9g", each.field.c_str(), median(each.runs));
			printf("}\n");
		}
	}
};

// --- an endpoint

struct Crypto : FlashCryptoAdapter_OpenSSL {
	int group { 14 };

	std::vector<int> getSupportedDHGroups() const override { return { group }; }

	void setUp(bool server, bool ephemeral, int group_, bool hmac)
	{
		group = group_;
		if(not init(server, ephemeral, nullptr))
			fail("no identity could be made");
		setHMACSendAlways(hmac);
		setHMACRecvRequired(hmac);
		setSSeqSendAlways(hmac);
		setSSeqRecvRequired(hmac);
	}
};

std::shared_ptr<RTMFP> makeRtmfp(PosixPlatformAdapter *platform, ICryptoAdapter *crypto)
{
	auto rv = share_ref(new RTMFP(platform, crypto), false);
	platform->setRtmfp(rv.get());
	rv->setDefaultSessionIdleLimit(3600);
	return rv;
}

std::shared_ptr<SendFlow> openFlow(const std::shared_ptr<RTMFP> &rtmfp, int port)
{
	auto epd = FlashCryptoAdapter::makeEPD(nullptr, "rtmfp://127.0.0.1/bench", nullptr);
	const char metadata[] = "bench";
	auto flow = rtmfp->openFlow(epd.data(), epd.size(), metadata, 5);
	sockaddr_in to;
	memset(&to, 0, sizeof(to));
	to.sin_family = AF_INET;
	to.sin_port = htons(port);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	flow->addCandidateAddress((sockaddr *)&to);
	return flow;
}

int bindLoopback(PosixPlatformAdapter &platform)
{
	sockaddr_in at;
	memset(&at, 0, sizeof(at));
	at.sin_family = AF_INET;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	auto bound = platform.addUdpInterface((sockaddr *)&at);
	if(not bound)
		fail("no socket could be bound");
	return bound->getPort();
}

// --- the other process: answers a line with its figures

int peer(const Options &options)
{
	bool echo = options.number("--echo", 0) != 0;
	Crypto crypto;
	crypto.setUp(true, true, options.number("--group", 14), options.hmac());

	// As in the programs that come with the library: Diffie-Hellman work on a thread of its own.
	PreferredRunLoop loop, workerLoop;
	Performer performer(&loop), workerPerformer(&workerLoop);
	PerformerPosixPlatformAdapter platform(&loop, &performer, &workerPerformer);
	std::thread worker([&] { workerLoop.run(); });
	auto rtmfp = makeRtmfp(&platform, &crypto);
	rtmfp->setDefaultSessionKeepalivePeriod(options.number("--keepalive", 90));

	unsigned long flows = 0, messages = 0, bytes = 0;
	std::set<std::shared_ptr<RecvFlow>> open;
	rtmfp->onRecvFlow = [&] (std::shared_ptr<RecvFlow> flow) {
		flows++;
		open.insert(flow);
		flow->setBufferCapacity(BUFFER);
		auto back = echo ? flow->openReturnFlow("echo", 4) : nullptr;
		flow->onMessage = [&, back] (const uint8_t *data, size_t len, uintmax_t, size_t) {
			messages++;
			bytes += len;
			if(back)
				back->write(data, len);
		};
		flow->onComplete = [&open, flow] (bool) { open.erase(flow); };
		flow->accept();
	};

	printf("%d\n", bindLoopback(platform));
	fflush(stdout);
	loop.registerDescriptor(0, RunLoop::READABLE, [&] {
		char line[64];
		ssize_t n = read(0, line, sizeof(line));
		if(n <= 0 or line[0] == 'q')
			_exit(0);
		printf("%.9f %ld %lu %lu %lu\n", cpuSeconds(), residentBytes(), flows, messages, bytes);
		fflush(stdout);
	});
	loop.run();
	worker.join();
	return 0;
}

struct Remote {
	pid_t pid;
	FILE *input, *output;
	int port { 0 };

	struct Sample { double cpu; long resident; unsigned long flows, messages, bytes; };

	Remote(std::vector<std::string> arguments)
	{
		int down[2], up[2];
		if(pipe(down) or pipe(up) or (pid = fork()) < 0)
			fail("no other process can be started");
		if(0 == pid)
		{
			prctl(PR_SET_PDEATHSIG, SIGKILL); // it ends with its parent, however that ends
			dup2(down[0], 0);
			dup2(up[1], 1);
			for(int fd : { down[0], down[1], up[0], up[1] })
				close(fd);
			std::vector<char *> argv { (char *)"rtmfp_cpp_bench", (char *)"peer" };
			for(auto &each : arguments)
				argv.push_back((char *)each.c_str());
			argv.push_back(nullptr);
			execv("/proc/self/exe", argv.data());
			_exit(127);
		}
		close(down[0]);
		close(up[1]);
		input = fdopen(down[1], "w");
		output = fdopen(up[0], "r");
		if(fscanf(output, "%d", &port) != 1)
			fail("the other process does not listen");
	}

	~Remote()
	{
		fputs("q\n", input);
		fclose(input);
		fclose(output);
		waitpid(pid, nullptr, 0);
	}

	Sample sample()
	{
		Sample s;
		fputs("?\n", input);
		fflush(input);
		if(fscanf(output, "%lf %ld %lu %lu %lu", &s.cpu, &s.resident, &s.flows, &s.messages, &s.bytes) != 5)
			fail("the other process has ended");
		return s;
	}
};

// --- bulk and messages

struct Flood { double seconds, cpu, remoteCpu; unsigned long messages, bytes; };

Flood flood(const Options &options, size_t size)
{
	Remote remote({ "--mode", options.text("--mode", "hmac-sseq") });
	Crypto crypto;
	crypto.setUp(false, true, 14, options.hmac());
	PreferredRunLoop loop;
	PosixPlatformAdapter platform(&loop);
	auto rtmfp = makeRtmfp(&platform, &crypto);
	bindLoopback(platform);
	auto flow = openFlow(rtmfp, remote.port);
	flow->setBufferCapacity(BUFFER);

	std::vector<uint8_t> message(size);
	for(size_t i = 0; i < size; i++)
		message[i] = i * 7;
	double duration = options.number("--seconds", 3), begun = 0, done = 0, cpu = 0;
	unsigned long sent = 0;
	Remote::Sample before {};
	std::shared_ptr<WriteReceipt> last;
	flow->onException = [] (uintmax_t) { fail("the flow was closed"); };
	flow->onWritable = [&] {
		if(0 == begun)
		{
			before = remote.sample();
			cpu = cpuSeconds();
			begun = clockSeconds();
		}
		bool over = clockSeconds() - begun >= duration;
		do {
			last = flow->write(message.data(), message.size());
			sent++;
		} while(not over and flow->getBufferedSize() < BUFFER);
		if(over)
			last->onFinished = [&] (bool) {
				done = clockSeconds();
				cpu = cpuSeconds() - cpu;
				loop.stop();
			};
		return not over;
	};
	flow->notifyWhenWritable();
	loop.run(duration + 60);
	if(0 == done)
		fail("the transfer did not end");
	auto after = remote.sample();
	if(after.bytes - before.bytes != sent * size)
		fail("not everything has arrived");
	flow->close();
	rtmfp->shutdown(true);
	loop.run(0.05);
	platform.close();
	return { done - begun, cpu, after.cpu - before.cpu, sent, sent * size };
}

void bulk(const Options &options, Report &report)
{
	auto f = flood(options, options.number("--message", 8192));
	double gib = f.bytes / double(1 << 30);
	report.add("sender_cpu_s_per_gib", "sender's CPU s per GiB", f.cpu / gib);
	report.add("receiver_cpu_s_per_gib", "receiver's CPU s per GiB", f.remoteCpu / gib);
	report.add("mb_per_s", "MB/s", f.bytes / 1e6 / f.seconds);
}

void messages(const Options &options, Report &report)
{
	auto f = flood(options, options.number("--size", 100));
	report.add("per_second", "messages per second", f.messages / f.seconds);
	report.add("", "sender's CPU us per message", f.cpu / f.messages * 1e6);
	report.add("", "receiver's CPU us per message", f.remoteCpu / f.messages * 1e6);
}

// --- pingpong

double percentile(const std::vector<double> &sorted, double part)
{
	size_t rank = std::ceil(sorted.size() * part);
	return sorted.empty() ? NAN : sorted[std::max<size_t>(rank, 1) - 1];
}

void pingpong(const Options &options, Report &report)
{
	Remote remote({ "--mode", options.text("--mode", "hmac-sseq"), "--echo", "1" });
	Crypto crypto;
	crypto.setUp(false, true, 14, options.hmac());
	PreferredRunLoop loop;
	PosixPlatformAdapter platform(&loop);
	auto rtmfp = makeRtmfp(&platform, &crypto);
	bindLoopback(platform);
	auto flow = openFlow(rtmfp, remote.port);

	std::vector<uint8_t> message(size_t(options.number("--size", 100)), 7);
	double until = 0, sentAt = 0;
	std::vector<double> trips;
	std::shared_ptr<RecvFlow> back;
	flow->onException = [] (uintmax_t) { fail("the flow was closed"); };
	flow->onRecvFlow = [&] (std::shared_ptr<RecvFlow> answer) {
		back = answer;
		answer->onMessage = [&] (const uint8_t *, size_t, uintmax_t, size_t) {
			double now = clockSeconds();
			trips.push_back((now - sentAt) * 1e6);
			if(now >= until)
				return loop.stop();
			sentAt = now;
			flow->write(message.data(), message.size());
		};
		answer->accept();
	};
	flow->onWritable = [&] {
		sentAt = clockSeconds();
		until = sentAt + options.number("--seconds", 3);
		flow->write(message.data(), message.size());
		return false;
	};
	flow->notifyWhenWritable();
	loop.run(options.number("--seconds", 3) + 60);
	if(trips.size() <= WARM_UP)
		fail("too few round trips");
	trips.erase(trips.begin(), trips.begin() + WARM_UP);
	std::sort(trips.begin(), trips.end());
	report.add("p50_us", "median round trip, us", percentile(trips, 0.5));
	report.add("p99_us", "99th percentile, us", percentile(trips, 0.99));
	report.add("", "round trips", trips.size());
	flow->close();
	rtmfp->shutdown(true);
	loop.run(0.05);
	platform.close();
}

// --- handshakes and idle: many clients, each with an identity, an instance and a socket of its own

struct Client {
	Crypto *crypto { nullptr };
	std::unique_ptr<PosixPlatformAdapter> platform;
	std::shared_ptr<RTMFP> rtmfp;
	std::shared_ptr<SendFlow> flow;
	double begun { 0 };
};

// A share of the clients in a thread of its own.
struct Swarm {
	std::vector<Crypto *> identities;
	int port { 0 };
	size_t concurrency { 1 };
	bool hold { false };
	std::vector<double> latencies;
	unsigned long failures { 0 };
	std::vector<std::unique_ptr<Client>> clients;
	PreferredRunLoop loop;
	size_t next { 0 }, opening { 0 }, ended { 0 };
	std::function<void()> onAllEnded;

	void begin()
	{
		for(; opening < concurrency and next < identities.size(); next++, opening++)
		{
			clients.emplace_back(new Client);
			auto client = clients.back().get();
			client->crypto = identities[next];
			client->platform.reset(new PosixPlatformAdapter(&loop));
			client->rtmfp = makeRtmfp(client->platform.get(), client->crypto);
			client->rtmfp->setDefaultSessionKeepalivePeriod(20);
			bindLoopback(*client->platform);
			client->begun = clockSeconds();
			client->flow = openFlow(client->rtmfp, port);
			client->flow->onException = [this, client] (uintmax_t) {
				if(client->begun)
				{
					failures++;
					end(client);
				}
			};
			client->flow->onWritable = [this, client] {
				if(client->begun)
				{
					latencies.push_back((clockSeconds() - client->begun) * 1e3);
					end(client);
				}
				return false;
			};
			client->flow->notifyWhenWritable();
		}
	}

	void end(Client *client)
	{
		client->begun = 0;
		if(not hold)
		{
			client->rtmfp->shutdown(true);
			// After its last packet.
			loop.scheduleRel(Timer::makeAction([client] { client->platform->close(); }), 0.05);
		}
		else
		{
			// One message, so that the responder knows of the session; then no flow is left.
			client->flow->write("hello", 5);
			client->flow->close();
			client->flow.reset();
		}
		opening--;
		ended++;
		if(ended == identities.size() and onAllEnded)
			onAllEnded();
		begin();
	}
};

std::vector<std::unique_ptr<Crypto>> makeIdentities(size_t count, bool ephemeral, int group)
{
	std::vector<std::unique_ptr<Crypto>> rv(count);
	size_t workers = std::max(1u, std::thread::hardware_concurrency());
	std::vector<std::thread> threads;
	for(size_t w = 0; w < workers; w++)
		threads.emplace_back([&, w] {
			for(size_t i = w; i < count; i += workers)
			{
				rv[i].reset(new Crypto);
				rv[i]->setUp(false, ephemeral, group, true);
			}
		});
	for(auto &each : threads)
		each.join();
	return rv;
}

std::vector<std::unique_ptr<Swarm>> makeSwarms(std::vector<std::unique_ptr<Crypto>> &identities, int port, size_t concurrency, bool hold)
{
	size_t workers = std::min<size_t>(std::max(1u, std::thread::hardware_concurrency()), concurrency);
	std::vector<std::unique_ptr<Swarm>> rv;
	for(size_t w = 0; w < workers; w++)
	{
		rv.emplace_back(new Swarm);
		for(size_t i = w; i < identities.size(); i += workers)
			rv.back()->identities.push_back(identities[i].get());
		rv.back()->port = port;
		rv.back()->concurrency = (concurrency + workers - 1) / workers;
		rv.back()->hold = hold;
	}
	return rv;
}

void handshakes(const Options &options, Report &report, std::vector<std::unique_ptr<Crypto>> &identities)
{
	int group = options.number("--group", 14);
	if(identities.empty())
		identities = makeIdentities(options.number("--count", group == 2 ? 2000 : group == 16 ? 200 : 1000), false, group);
	Remote remote({ "--group", std::to_string(group) });
	auto swarms = makeSwarms(identities, remote.port, options.number("--concurrency", 64), false);
	auto before = remote.sample();
	double begun = clockSeconds();
	std::vector<std::thread> threads;
	for(auto &each : swarms)
	{
		auto swarm = each.get();
		swarm->onAllEnded = [swarm] { swarm->loop.stop(); };
		threads.emplace_back([swarm] {
			swarm->begin();
			swarm->loop.run(300);
		});
	}
	for(auto &each : threads)
		each.join();
	double seconds = clockSeconds() - begun;
	auto after = remote.sample();
	std::vector<double> latencies;
	unsigned long failures = 0;
	for(auto &each : swarms)
	{
		latencies.insert(latencies.end(), each->latencies.begin(), each->latencies.end());
		failures += each->failures + each->identities.size() - each->ended;
	}
	std::sort(latencies.begin(), latencies.end());
	report.add("per_second", "sessions per second", latencies.size() / seconds);
	report.add("p99_ms", "99th percentile until open, ms", percentile(latencies, 0.99));
	report.add("server_cpu_ms", "server's CPU ms per session", (after.cpu - before.cpu) / latencies.size() * 1e3);
	report.add("", "median until open, ms", percentile(latencies, 0.5));
	report.add("", "failures", failures);
	for(auto &swarm : swarms)
	{
		swarm->loop.run(0.1);
		for(auto &client : swarm->clients)
		{
			client->flow.reset();
			client->platform->close();
		}
		swarm->loop.clear();
	}
	// Objects that still refer to each other are left to the end of the process.
	for(auto &swarm : swarms)
		swarm.release();
}

void idle(const Options &options, Report &report)
{
	size_t count = options.number("--sessions", 1000);
	int group = options.number("--group", 2);
	rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if(limit.rlim_max < count + 100)
		fail("each session has a socket of its own here: too few files may be open (ulimit -Hn)");
	auto identities = makeIdentities(count, true, group);
	Remote remote({ "--group", std::to_string(group) });
	{
		// What the first session costs once is not counted.
		auto warm = makeIdentities(4, true, group);
		auto swarms = makeSwarms(warm, remote.port, 1, false);
		swarms[0]->onAllEnded = [&] { swarms[0]->loop.stop(); };
		swarms[0]->begin();
		swarms[0]->loop.run(30);
		swarms[0]->loop.run(0.5);
		for(auto &each : warm)
			each.release();
		swarms[0].release();
	}
	auto before = remote.sample();
	// 16 at a time, in all: more are not answered.
	auto swarms = makeSwarms(identities, remote.port, options.number("--concurrency", 16), true);
	std::vector<std::thread> threads;
	std::atomic_size_t ended { 0 };
	for(auto &each : swarms)
	{
		auto swarm = each.get();
		swarm->onAllEnded = [&ended] { ended++; };
		threads.emplace_back([swarm] {
			swarm->begin();
			swarm->loop.run();
		});
	}
	while(ended < swarms.size())
	{
		std::this_thread::sleep_for(std::chrono::seconds(1));
		size_t open = 0;
		for(auto &each : swarms)
			open += each->ended;
		fprintf(stderr, "\r%zu of %zu sessions ", open, count);
	}
	size_t opened = 0;
	for(auto &each : swarms)
		opened += each->latencies.size();
	fprintf(stderr, "\n%zu opened, settling\n", opened);
	std::this_thread::sleep_for(std::chrono::duration<double>(options.number("--settle", 25)));
	double window = options.number("--window", 10);
	for(int i = 0; i < 5; i++)
	{
		auto from = remote.sample();
		double at = clockSeconds();
		std::this_thread::sleep_for(std::chrono::duration<double>(window));
		auto to = remote.sample();
		report.add("cpu_percent", "server's CPU, % of one processor", (to.cpu - from.cpu) / (clockSeconds() - at) * 100);
	}
	auto after = remote.sample();
	report.add("bytes_per_session", "server's resident bytes per session", double(after.resident - before.resident) / opened);
	report.print(options.number("--json", 0));
	fflush(stdout);
	// The threads still serve their sessions.
	kill(remote.pid, SIGKILL);
	_exit(0);
}

}

int main(int argc, char **argv)
{
	Options options(argc, argv);
	std::string work = argc > 1 ? argv[1] : "";
	signal(SIGPIPE, SIG_IGN);
	if(work == "peer")
		return peer(options);
	Report report;
	report.work = work;
	if(work == "idle")
		idle(options, report);
	std::vector<std::unique_ptr<Crypto>> identities;
	for(int run = 0; run < options.number("--runs", 5); run++)
	{
		if(work == "bulk")
			bulk(options, report);
		else if(work == "messages")
			messages(options, report);
		else if(work == "pingpong")
			pingpong(options, report);
		else if(work == "handshakes")
			handshakes(options, report, identities);
		else
			fail("works are bulk, messages, pingpong, handshakes and idle");
	}
	report.print(options.number("--json", 0));
	fflush(stdout);
	_exit(0);
}
